"""One viewer's stay: a live session, the connection that carries it, who speaks into it, its deadlines and its events.

Whatever ends a call, the same `end` takes everything down, once, in bounded time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avacast.engine.errors import SessionClosed, Unavailable
from avacast.streaming.http_errors import RequestError
from avacast.streaming.live_session import LiveSession
from avacast.streaming.messages import Ready
from avacast.streaming.peer import Peer
from avacast.streaming.speaker import Speaker
from avacast.streaming.speech_connection import SpeechConnection
from avacast.streaming.tts import TTS
from avacast.streaming.utterance import Utterance
from avacast.streaming.worker import Worker

log = logging.getLogger(__name__)

MAX_SETUP_S = 15.0
MAX_VANISHED_S = 10.0
MAX_IDLE_S = 600.0
MAX_LISTENERS = 4
MAX_EVENTS_WAITING = 16
"""Events that wait for a slow reader. Policy when full: the oldest is dropped; the next one tells all of it again."""

WATCH_INTERVAL_S = 1.0

Event = dict[str, Any]


class Call:
    """Made with everything running; `on_end` is called once, when all of it has ended."""

    def __init__(
        self,
        name: str,
        picture: NDArray[np.uint8],
        worker: Worker,
        model: Ready,
        tts: TTS,
        on_end: Callable[[str], None],
    ) -> None:
        self.name = name
        self._on_end = on_end
        self._reason: tuple[str, str] | None = None
        self._listeners: list[asyncio.Queue[Event]] = []
        self._ending: asyncio.Task[None] | None = None
        self._made_s = self._busy_s = time.monotonic()
        self._answered = False
        self._session = LiveSession(name, picture, worker, model, self._give_up)
        self._speaker = Speaker(tts, self.begin)
        self._speech: SpeechConnection | None = None
        self._peer = Peer(self._session.audio, self._session.video, self._session.source.microphone)
        self._watching = asyncio.create_task(self._watch(), name=f"watch-{name}")
        self._watching.add_done_callback(self._on_watch_stopped)

    @property
    def state(self) -> str:
        """`preparing` (the engine), `connecting` (the peer), `live` or `ended`."""
        if self._reason:
            return "ended"
        if not self._session.opened:
            return "preparing"
        return "live" if self._peer.connected else "connecting"

    def event(self) -> Event:
        """State and numbers, as the events tell them."""
        event: Event = {"type": "status", "state": self.state, "stats": self._session.stats()}
        if self._reason:
            event["reason"] = {"code": self._reason[0], "message": self._reason[1]}
        return event

    async def answer(self, sdp: str) -> str:
        """Answers the one offer of this call. Raises RequestError for a second or a bad one."""
        self._check_open()
        if self._answered:
            raise RequestError(HTTPStatus.CONFLICT, "already_answered", "this session has had its offer; start anew")
        self._answered = True
        try:
            return await self._peer.answer(sdp)
        except RequestError:
            self.end("bad_sdp", "the offer could not be answered")
            raise

    @property
    def buffered_ms(self) -> float:
        """Speech that waits to be said."""
        return 1000 * self._session.source.speech_left_s

    async def say(self, text: str) -> float:
        """Speaks `text` after what waits already; returns about how long it is, in seconds.

        Raises BadText, SessionClosed, SpeechServiceError, Interrupted, or Unavailable when too much speech waits.
        """
        self._check_open()
        return await self._speaker.say(text)

    def begin(self, utterance: Utterance) -> None:
        """Queues an utterance, which may still grow. Raises SessionClosed, or Unavailable when too much waits."""
        self._check_open()
        self._session.say(utterance)
        self._busy_s = time.monotonic()

    def clear(self) -> tuple[float, int]:
        """Silences the avatar, whatever it says or was to say: how much of it was heard, in seconds, and the epoch.

        Raises SessionClosed.
        """
        self._check_open()
        self._speaker.clear()
        return self._session.clear(), self._session.epoch

    async def listen_to(self, speech: SpeechConnection) -> None:
        """Serves a client of the speech websocket until it has gone. A later one takes the place of the one before.

        Raises SessionClosed.
        """
        self._check_open()
        if self._speech:
            self._speech.end("replaced", "another client speaks into this session now")
        self._speech = speech
        try:
            await speech.run()
        finally:
            if self._speech is speech:
                self._speech = None

    def subscribe(self) -> asyncio.Queue[Event]:
        """A bounded queue of events, the present state first. Raises Unavailable when too many listen."""
        if len(self._listeners) >= MAX_LISTENERS:
            raise Unavailable(f"at most {MAX_LISTENERS} listeners hear one session's events")
        events: asyncio.Queue[Event] = asyncio.Queue(MAX_EVENTS_WAITING)
        events.put_nowait(self.event())
        self._listeners.append(events)
        return events

    def unsubscribe(self, events: asyncio.Queue[Event]) -> None:
        self._listeners.remove(events)

    def end(self, code: str, message: str) -> asyncio.Task[None]:
        """Begins the end, for this reason unless it has begun; the task returned finishes in bounded time."""
        if self._ending is None:
            self._reason = (code, message)
            self._tell()
            if self._speech:
                self._speech.end("session_closed", f"the session has ended: {message}")
            self._ending = asyncio.create_task(self._take_down(), name=f"end-{self.name}")
        return self._ending

    async def _take_down(self) -> None:
        self._watching.cancel()
        await self._session.close()
        await self._peer.close()
        await self._speaker.aclose()
        self._on_end(self.name)

    def _give_up(self, code: str, message: str) -> None:
        self.end(code, message)

    def _check_open(self) -> None:
        if self._reason:
            raise SessionClosed(f"the session has ended: {self._reason[1]}")

    def _tell(self) -> None:
        event = self.event()
        for events in self._listeners:
            if events.full():
                events.get_nowait()
            events.put_nowait(event)

    def _on_watch_stopped(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            log.error("the watch of session %s stopped", self.name, exc_info=error)
            self.end("internal", "the session failed; start it again")

    async def _watch(self) -> None:
        was_connected = False
        while True:
            await asyncio.sleep(WATCH_INTERVAL_S)
            now = time.monotonic()
            was_connected = was_connected or self._peer.connected
            if self._session.source.hearing or self._session.source.speech_left_s:
                self._busy_s = now
            if not was_connected and now - self._made_s > MAX_SETUP_S:
                self.end("setup_timeout", f"no connection within {MAX_SETUP_S:.0f} s")
            elif self._peer.gone or (was_connected and await self._peer.silence_s() > MAX_VANISHED_S):
                self.end("viewer_gone", "the viewer's connection was lost")
            elif now - self._busy_s > MAX_IDLE_S:
                self.end("idle", f"nothing was said for {MAX_IDLE_S / 60:.0f} minutes")
            else:
                self._tell()
