"""The engine behind the server: a worker process, watched, and started again when it dies.

Knows what the worker says and to whom; how a process is started and spoken to is `spawned_worker`'s. Knows nothing of
models, media or the network.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from avacast.engine.errors import AvacastError, Unavailable
from avacast.engine.profile import LiveProfile
from avacast.streaming.heartbeat import INTERVAL_S, Heartbeat
from avacast.streaming.messages import (
    Alive,
    Audio,
    Close,
    Command,
    Cut,
    Ended,
    Event,
    Failed,
    Frames,
    Open,
    Opened,
    Ready,
)
from avacast.streaming.recorded_session import RecordingFolder
from avacast.streaming.spawned_worker import SpawnedWorker

log = logging.getLogger(__name__)

MAX_SILENCE_S = 8.0
"""A loaded worker that has not said Alive for this long hangs: it is killed, and its sessions end."""

MAX_CRASHES = 3
CRASH_WINDOW_S = 60.0
"""After `MAX_CRASHES` within this time the worker stays down: something is broken that a restart does not mend."""

LOST = "the engine stopped unexpectedly; start the session again"


class Listener(Protocol):
    """What a session hears from the worker, always in the event loop."""

    def on_opened(self, familiar: bool) -> None: ...
    def on_frames(self, frames: Frames) -> None: ...
    def on_ended(self, code: str, message: str) -> None: ...


class Worker:
    """Supervisor of one worker process at a time.

    Args:
        load: called in the process, returns the Pipeline; must be picklable.
        num_threads: of torch in the process.
        profile: of every session; None is the one with the least delay that the machine keeps up with.
        recordings: where every session is recorded; None records none.
    """

    def __init__(
        self,
        load: Callable[[], Any],
        *,
        num_threads: int,
        profile: LiveProfile | None = None,
        recordings: RecordingFolder | None = None,
    ) -> None:
        self.model: Ready | None = None
        """The loaded model; None while none is loaded."""
        self._arguments = (load, num_threads, profile, recordings)
        self._listeners: dict[str, Listener] = {}
        self._crashes: deque[float] = deque(maxlen=MAX_CRASHES)
        self._heartbeat = Heartbeat(MAX_SILENCE_S)
        self._spawned: SpawnedWorker | None = None
        self._loaded: asyncio.Future[Ready] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._stays_down = False
        """No other process is started: the server is closing, or the worker failed in a way that would come again."""

    @property
    def pid(self) -> int | None:
        return self._spawned.pid if self._spawned else None

    def loaded_model(self) -> Ready:
        """The model that sessions can be opened with now. Raises Unavailable where there is none."""
        if self.model:
            return self.model
        if self._stays_down:
            raise Unavailable("the engine has failed and stays down; start the server again, its log says why")
        raise Unavailable("the engine is starting; try again in a moment")

    async def start(self) -> Ready:
        """Starts the process and waits for the model. Raises the AvacastError with which loading failed."""
        self._spawn()
        assert self._loaded
        model = await self._loaded
        if self._watch is None:
            self._watch = asyncio.create_task(self._watch_silence(), name="worker-watch")
        return model

    def open(self, session: str, picture: NDArray[np.uint8], seed: int, listener: Listener) -> None:
        """Begins a session for `picture`, uint8 [H, W, 3]. Raises Unavailable when no model is loaded now."""
        self.loaded_model()
        self._listeners[session] = listener
        self._post(Open(session, picture, seed))

    def push(self, session: str, number: int, samples: NDArray[np.float32], position: int) -> None:
        """Hands over slice `number`, float32 [samples_per_frame] at 16 kHz; `position` is the slice being heard."""
        self._post(Audio(session, number, samples, position))

    def cut(self, session: str, epoch: int, number: int) -> None:
        """Unsays what was handed over, from about slice `number` on; frames made after that are of epoch `epoch`."""
        self._post(Cut(session, epoch, number))

    def close(self, session: str) -> None:
        """Ends a session; its listener hears no more."""
        if self._listeners.pop(session, None):
            self._post(Close(session))

    async def aclose(self) -> None:
        """Ends the process. Always returns, within three seconds."""
        self._stays_down = True
        if self._watch:
            self._watch.cancel()
        if self._spawned:
            await self._spawned.aclose()

    def _spawn(self) -> None:
        self._loaded = asyncio.get_running_loop().create_future()
        self._spawned = SpawnedWorker(self._arguments, self._receive, self._lost)

    def _post(self, command: Command) -> None:
        assert self._spawned, "the worker was not started"
        if not self._spawned.post(command):
            # Five seconds of unread commands: the watch is about to kill the process, nothing here is worth saving.
            log.warning("the worker does not read; a command was dropped")

    def _receive(self, event: Event) -> None:
        self._heartbeat.hear(time.monotonic())
        match event:
            case Ready():
                self.model = event
                self._settle(event)
            case Failed():
                self._stays_down = True  # a model that does not load now will not load on a second try
                self._settle(_error(event))
            case Alive():
                pass
            case Opened() | Frames() | Ended():
                self._tell(event)

    def _tell(self, event: Opened | Frames | Ended) -> None:
        listener = self._listeners.get(event.session)
        if listener is None:
            return  # it was closed while this was on its way
        if isinstance(event, Opened):
            listener.on_opened(event.familiar)
        elif isinstance(event, Frames):
            listener.on_frames(event)
        else:
            del self._listeners[event.session]
            listener.on_ended(event.code, event.message)

    def _settle(self, outcome: Ready | AvacastError) -> None:
        if self._loaded is None or self._loaded.done():
            return
        if isinstance(outcome, Ready):
            self._loaded.set_result(outcome)
        else:
            self._loaded.set_exception(outcome)

    def _lost(self) -> None:
        self.model = None
        self._settle(Unavailable("the engine process ended while it loaded the model; see the log above"))
        listeners, self._listeners = self._listeners, {}
        for listener in listeners.values():
            listener.on_ended("engine_failed", LOST)
        if not self._stays_down:
            self._restart()

    def _restart(self) -> None:
        now = time.monotonic()
        self._crashes.append(now)
        if len(self._crashes) == MAX_CRASHES and now - self._crashes[0] < CRASH_WINDOW_S:
            log.error("the worker died %d times within %d s and stays down", MAX_CRASHES, CRASH_WINDOW_S)
            self._stays_down = True
            return
        log.warning("the worker died; starting another")
        self._spawn()
        assert self._loaded
        # Nobody waits for this load; a failure is logged here and seen by callers as "no model is loaded".
        self._loaded.add_done_callback(_log_failure)

    async def _watch_silence(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_S)
            if self._spawned and self.model and self._heartbeat.is_lost(time.monotonic()):
                log.error("the worker has been silent for %.0f s and is killed", MAX_SILENCE_S)
                self._spawned.kill()


def _log_failure(loaded: asyncio.Future[Ready]) -> None:
    if not loaded.cancelled() and (error := loaded.exception()):
        log.error("the worker could not be started again: %s", error)


def _error(failed: Failed) -> AvacastError:
    """The error that the worker met, of its own class again."""
    known = {kind.code: kind for kind in AvacastError.__subclasses__()}
    return known.get(failed.code, AvacastError)(failed.message)
