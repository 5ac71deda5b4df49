"""The worker process: the one place in serving that imports torch and owns the device.

Sessions are advanced in turn, one window each, so that none waits for more than the others' windows; on a GPU all
begin theirs before the frames of any are waited for. A session that raises ends alone, with a reason. The process
leaves when the server does: its end of the pipe closes, and what is recorded is made whole. This module knows nothing
of the network or of time limits; the server watches it from outside.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import numpy as np

from avacast.engine.errors import AvacastError
from avacast.engine.profile import LiveProfile
from avacast.streaming.channel import Channel
from avacast.streaming.lane import Begun, Lane
from avacast.streaming.live_profile import chosen_profile
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

if TYPE_CHECKING:
    from avacast.engine.pipeline import Pipeline
    from avacast.streaming.recorded_session import AnySession, RecordingFolder

MAX_INBOX = 512
"""Commands not yet looked at. Policy when full: the reader waits, the pipe fills, and the server is told by its own
queue filling up."""

ALIVE_INTERVAL_S = 1.0

MAX_FAREWELL_S = 0.7
"""For recordings to be made whole when the server has gone; it waits a little longer before it kills the process."""


class EngineLoop:
    """All sessions of the process. `post` takes the events; it returns False when it could not.

    `profile` None is the one with the least delay that this machine keeps up with. With `recordings` every session is
    recorded there. `overlaps` says whether windows of several sessions are begun together; None does so on a GPU.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        post: Callable[[Event], bool],
        profile: LiveProfile | None = "mic",
        recordings: RecordingFolder | None = None,
        *,
        overlaps: bool | None = None,
    ) -> None:
        self.lanes: dict[str, Lane] = {}
        self.config = pipeline.config
        self.precision = str(pipeline.networks.precision)
        self._pipeline = pipeline
        self._post = post
        self._profile: LiveProfile = profile or chosen_profile(pipeline)
        self._recordings = recordings
        self._overlaps = pipeline.networks.device.type == "cuda" if overlaps is None else overlaps
        self._turns: deque[str] = deque()

    def handle(self, command: Command) -> None:
        """Carries out one command. One about a session that has ended meanwhile is ignored."""
        if isinstance(command, Open):
            self._isolated(command.session, partial(self._open, command))
        elif isinstance(command, Close):
            self._isolated(command.session, partial(self._close, command.session))
        elif lane := self.lanes.get(command.session):
            self._isolated(command.session, partial(_tell, lane, command))

    def step(self) -> bool:
        """Advances the next session whose turn it is by one window; False when none has work.

        Where windows overlap, all sessions that have work: one's frames come while another's window is made. On a CPU
        the others would only wait for it, and so would the commands.
        """
        due = [session for session in self._turns if self.lanes[session].can_run]
        if not due:
            return False
        self._turns.rotate(-1 - self._turns.index(due[0]))
        begun: dict[str, tuple[Begun, float]] = {}
        for session in due if self._overlaps else due[:1]:
            self._isolated(session, partial(self._begin, session, begun))
        for session, (window, begin_s) in begun.items():
            self._isolated(session, partial(self._send, session, window, begin_s))
        return True

    def _open(self, command: Open) -> None:
        session: AnySession = self._pipeline.open_session(
            command.picture, seed=command.seed, profile=self._profile, interruptible=True
        )
        familiar = session.familiar
        if self._recordings:
            session = self._recordings.begin_if_possible(
                session, self._pipeline, command.picture, command.seed, command.session
            )
        self.lanes[command.session] = Lane(session, self.config.samples_per_frame, self.config.idle(session.profile))
        self._turns.append(command.session)
        self._post(Opened(command.session, familiar))

    def close(self) -> None:
        """Ends all sessions; each recording gets its name."""
        for session in tuple(self.lanes):
            self._isolated(session, partial(self._close, session))

    def warm_up(self) -> None:
        """Runs every network once, so that the first viewer does not wait for what is prepared on first use."""
        grey = np.full((self.config.height, self.config.width, 3), 128, np.uint8)
        Lane(
            self._pipeline.open_session(grey, profile=self._profile, interruptible=True), self.config.samples_per_frame
        ).close()

    def _begin(self, session: str, begun: dict[str, tuple[Begun, float]]) -> None:
        started = time.perf_counter()
        if window := self.lanes[session].begin():
            begun[session] = window, time.perf_counter() - started

    def _send(self, session: str, window: Begun, begin_s: float) -> None:
        lane, started = self.lanes[session], time.perf_counter()
        images = window.images()
        # Time that was waited for others' windows is in theirs.
        compute_s = begin_s + time.perf_counter() - started
        if not self._post(Frames(session, lane.epoch, window.numbers, images, compute_s, lane.num_skipped)):
            # The server does not read. Its watch ends the sessions; keeping the frames would only fill memory.
            lane.num_skipped += len(window.numbers)

    def _close(self, session: str) -> None:
        if lane := self.lanes.pop(session, None):
            self._turns.remove(session)
            lane.close()

    def _isolated(self, session: str, work: Callable[[], None]) -> None:
        """Runs a piece of one session's work; whatever it raises ends that session and no other."""
        try:
            work()
        except AvacastError as error:
            self._give_up(session, error.code, str(error))
        except Exception:  # noqa: BLE001  # the boundary that keeps one session's fault from the others
            traceback.print_exc()
            self._give_up(session, "engine_failed", "the engine failed in this session; start it again")

    def _give_up(self, session: str, code: str, message: str) -> None:
        if lane := self.lanes.pop(session, None):
            self._turns.remove(session)
            lane.close()
        self._post(Ended(session, code, message))


def run(
    connection: Connection[Any, Any],
    load: Callable[[], Pipeline],
    num_threads: int,
    profile: LiveProfile | None = None,
    recordings: RecordingFolder | None = None,
) -> None:
    """The process's main function: loads the model, reports Ready or Failed, then serves until the pipe closes."""
    for number in (signal.SIGINT, signal.SIGTERM):  # they are for the server, which closes the pipe
        signal.signal(number, signal.SIG_IGN)
    inbox: queue.Queue[Command | None] = queue.Queue(MAX_INBOX)
    channel = Channel(connection, inbox.put, partial(_leave, inbox))
    channel.start()
    # Threads that spin while they wait take the core that the network side needs; measured on two busy cores, spinning
    # made the engine ten times slower. Read by OpenMP when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _tell_choices()
    try:
        import torch

        torch.set_num_threads(num_threads)
        engine = EngineLoop(load(), channel.post, profile, recordings)
        engine.warm_up()
    except AvacastError as error:
        channel.post(Failed(error.code, str(error), error.exit_code))
    except Exception:  # noqa: BLE001  # reported to the server, which has a user to tell
        traceback.print_exc()
        channel.post(Failed("engine_failed", "the engine could not start; see the log above", 1))
    else:
        config = engine.config
        channel.post(Ready(config.name, config.fps, config.height, config.width, engine.precision))
        _serve(engine, inbox, channel)
    sys.stderr.flush()
    time.sleep(60)  # the server reads the report and closes the pipe, which ends the process


def _leave(inbox: queue.Queue[Command | None]) -> None:
    """With the server gone there is nobody left to serve: the loop is told, and the process ends even in mid-window."""
    end = threading.Timer(MAX_FAREWELL_S, os._exit, (0,))
    end.daemon = True
    end.start()
    inbox.put(None)


def _tell(lane: Lane, command: Audio | Cut) -> None:
    if isinstance(command, Audio):
        lane.push(command.number, command.samples, command.position)
    else:
        lane.interrupt(command.epoch, command.number)


def _tell_choices() -> None:
    """Shows on standard error what the engine decides by measurement when it starts, and why."""
    log = logging.getLogger("avacast")
    log.addHandler(logging.StreamHandler())
    log.setLevel(logging.INFO)


def _serve(engine: EngineLoop, inbox: queue.Queue[Command | None], channel: Channel) -> None:
    """Until the server has gone: None in the inbox, after all that it had asked for."""
    last_alive = 0.0
    while True:
        if time.monotonic() - last_alive > ALIVE_INTERVAL_S / 2:
            last_alive = time.monotonic()
            channel.post(Alive())
        worked = engine.step()
        try:
            command = inbox.get(block=not worked, timeout=ALIVE_INTERVAL_S / 2)
            while command:
                engine.handle(command)
                command = inbox.get_nowait()
            engine.close()
            os._exit(0)
        except queue.Empty:
            continue
