"""The worker process as the server sees it: started, spoken to without waiting, watched, and started again.

Knows processes and messages; knows nothing of models, media or the network.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from avacast.engine.errors import AvacastError, Unavailable
from avacast.engine.profile import LiveProfile
from avacast.streaming.channel import Channel
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
from avacast.streaming.worker_process import run

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
        self._load = load
        self._num_threads = num_threads
        self._profile: LiveProfile | None = profile
        self._recordings = recordings
        self._listeners: dict[str, Listener] = {}
        self._crashes: deque[float] = deque(maxlen=MAX_CRASHES)
        self._generation = 0
        self._last_heard_s = 0.0
        self._process: Any = None
        self._channel: Channel | None = None
        self._loaded: asyncio.Future[Ready] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._closing = False

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

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
        if self.model is None:
            raise Unavailable("the engine is starting; try again in a moment")
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
        """Ends the process: asked first, killed after a second. Always returns."""
        self._closing = True
        if self._watch:
            self._watch.cancel()
        if self._channel:
            self._channel.close()
        if self._process:
            await asyncio.to_thread(_end, self._process)

    def _spawn(self) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe(duplex=True)
        self._generation += 1
        loop, generation = asyncio.get_running_loop(), self._generation
        self._loaded = loop.create_future()
        self._process = context.Process(
            target=run,
            args=(theirs, self._load, self._num_threads, self._profile, self._recordings),
            name="avacast-worker",
            daemon=True,
        )
        # Ctrl-C and a service manager's SIGTERM reach the whole group of processes. The worker ends when the pipe does,
        # so it never sees them: the mask is inherited, also for the time before it could install a handler.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()

        def in_loop(function: Callable[..., None], *args: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended before the process did
                loop.call_soon_threadsafe(function, generation, *args)

        self._channel = Channel(ours, lambda message: in_loop(self._receive, message), lambda: in_loop(self._lost))
        self._channel.start()

    def _post(self, command: Command) -> None:
        assert self._channel, "the worker was not started"
        if not self._channel.post(command):
            # Five seconds of unread commands: the watch is about to kill the process, nothing here is worth saving.
            log.warning("the worker does not read; a command was dropped")

    def _receive(self, generation: int, event: Event) -> None:
        if generation != self._generation:
            return
        self._last_heard_s = time.monotonic()
        match event:
            case Ready():
                self.model = event
                self._settle(event)
            case Failed():
                self._closing = True  # a model that does not load now will not load on a second try
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

    def _lost(self, generation: int) -> None:
        if generation != self._generation:
            return
        self.model = None
        self._settle(Unavailable("the engine process ended while it loaded the model; see the log above"))
        listeners, self._listeners = self._listeners, {}
        for listener in listeners.values():
            listener.on_ended("engine_failed", LOST)
        if not self._closing:
            self._restart()

    def _restart(self) -> None:
        now = time.monotonic()
        self._crashes.append(now)
        if len(self._crashes) == MAX_CRASHES and now - self._crashes[0] < CRASH_WINDOW_S:
            log.error("the worker died %d times within %d s and stays down", MAX_CRASHES, CRASH_WINDOW_S)
            return
        log.warning("the worker died; starting another")
        self._spawn()
        assert self._loaded
        # Nobody waits for this load; a failure is logged here and seen by callers as "no model is loaded".
        self._loaded.add_done_callback(_log_failure)

    async def _watch_silence(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            if self.model and time.monotonic() - self._last_heard_s > MAX_SILENCE_S:
                log.error("the worker has been silent for %.0f s and is killed", MAX_SILENCE_S)
                self._process.kill()


def _log_failure(loaded: asyncio.Future[Ready]) -> None:
    if not loaded.cancelled() and (error := loaded.exception()):
        log.error("the worker could not be started again: %s", error)


def _error(failed: Failed) -> AvacastError:
    """The error that the worker met, of its own class again."""
    known = {kind.code: kind for kind in AvacastError.__subclasses__()}
    return known.get(failed.code, AvacastError)(failed.message)


def _end(process: Any) -> None:
    process.join(1.0)
    if process.is_alive():
        process.kill()
        process.join(2.0)
