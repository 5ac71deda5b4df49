"""One avatar's stay: a live session, its audience, who speaks into it, its deadlines and its events.

Whatever ends a call, the same `end` takes everything down, once, in bounded time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from http import HTTPStatus

import numpy as np
from numpy.typing import NDArray

from avacast.engine.errors import SessionClosed
from avacast.streaming.audience import MAX_SETUP_S, Audience, Guest, Role
from avacast.streaming.http_errors import RequestError
from avacast.streaming.live_session import LiveSession
from avacast.streaming.messages import Ready
from avacast.streaming.session_events import Event, SessionEvents
from avacast.streaming.speaker import Speaker
from avacast.streaming.speech_connection import SpeechConnection
from avacast.streaming.tts import TTS
from avacast.streaming.utterance import Utterance
from avacast.streaming.webrtc_config import WebRTCConfig
from avacast.streaming.worker import Worker

log = logging.getLogger(__name__)

MAX_IDLE_S = 600.0
MAX_ALONE_S = 10.0
"""How long a session waits for somebody to come back after the last one said goodbye."""

WATCH_INTERVAL_S = 1.0


class Call:
    """Made with everything running; `on_end` is called once, when all of it has ended."""

    def __init__(
        self,
        name: str,
        picture: NDArray[np.uint8],
        worker: Worker,
        model: Ready,
        tts: TTS,
        webrtc: WebRTCConfig,
        on_end: Callable[[str], None],
    ) -> None:
        self.name = name
        self._on_end = on_end
        self._reason: tuple[str, str] | None = None
        self._events = SessionEvents()
        self._ending: asyncio.Task[None] | None = None
        self.max_alone_s = MAX_ALONE_S
        self._busy_s = time.monotonic()
        self._answered = False
        self.barge_in = False
        """Whether the avatar falls silent when somebody begins to speak into the microphone."""
        self._session = LiveSession(name, picture, worker, model, self._give_up, self._on_onset)
        self._speaker = Speaker(tts, self.begin, self.tell)
        self._speech: SpeechConnection | None = None
        self.audience = Audience(
            self._session.audio, self._session.video, self._session.source.microphone, webrtc, model.fps
        )
        self._watching = asyncio.create_task(self._watch(), name=f"watch-{name}")
        self._watching.add_done_callback(self._on_watch_stopped)

    @property
    def state(self) -> str:
        """`preparing` (the engine), `connecting` (nobody is, yet), `live` or `ended`."""
        if self._reason:
            return "ended"
        if not self._session.opened:
            return "preparing"
        return "live" if self.audience.connected else "connecting"

    def event(self) -> Event:
        """State and numbers, as the events tell them; `familiar` is null until the model has seen the picture."""
        event: Event = {"type": "status", "state": self.state, "stats": self._session.stats()}
        event["familiar"] = self._session.familiar
        if self._reason:
            event["reason"] = {"code": self._reason[0], "message": self._reason[1]}
        return event

    async def answer(self, sdp: str, client_host: str) -> str:
        """Answers the one offer of our own page. Raises RequestError for a second or a bad one."""
        self._check_open()
        if self._answered:
            raise RequestError(HTTPStatus.CONFLICT, "already_answered", "this session has had its offer; start anew")
        self._answered = True
        try:
            _, answer = await self.audience.join("partner", sdp, client_host)
            return answer
        except RequestError:
            self.end("bad_sdp", "the offer could not be answered")
            raise

    async def join(self, role: Role, sdp: str, client_host: str) -> tuple[Guest, str]:
        """Takes in one more, and the answer to his offer.

        Raises SessionClosed, RequestError for a bad offer, and Unavailable when too many take part.
        """
        self._check_open()
        return await self.audience.join(role, sdp, client_host)

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

    def resume(self) -> float:
        """Takes up what was interrupted last; returns its length in seconds. Raises Unavailable when it is too late."""
        self._check_open()
        self._busy_s = time.monotonic()
        return self._session.resume()

    def clear(self) -> tuple[float, int]:
        """Silences the avatar, whatever it says or was to say: how much of it was heard, in seconds, and the epoch.

        Raises SessionClosed.
        """
        self._check_open()
        self._speaker.clear()
        return self._session.clear(), self._session.epoch

    def tell(self, event: Event) -> None:
        """Tells those who watch the session."""
        self._events.tell(event)

    def _on_onset(self) -> None:
        if self.barge_in and not self._reason:
            position_s, epoch = self.clear()
            self.tell({"type": "interrupted", "by": "microphone", "position_s": position_s, "epoch": epoch})

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
        return self._events.subscribe(self.event())

    def unsubscribe(self, events: asyncio.Queue[Event]) -> None:
        self._events.unsubscribe(events)

    def end(self, code: str, message: str) -> asyncio.Task[None]:
        """Begins the end, for this reason unless it has begun; the task returned finishes in bounded time."""
        if self._ending is None:
            self._reason = (code, message)
            self._tell_state()
            if self._speech:
                self._speech.end("session_closed", f"the session has ended: {message}")
            self._ending = asyncio.create_task(self._take_down(), name=f"end-{self.name}")
        return self._ending

    async def _take_down(self) -> None:
        self._watching.cancel()
        for end_part in (self._session.close, self.audience.aclose, self._speaker.aclose):
            try:
                await end_part()
            except Exception:  # whatever it is, the other parts end too, and the place is free
                log.exception("a part of session %s did not end in order", self.name)
        self._on_end(self.name)

    def _give_up(self, code: str, message: str) -> None:
        self.end(code, message)

    def _check_open(self) -> None:
        if self._reason:
            raise SessionClosed(f"the session has ended: {self._reason[1]}")

    def _tell_state(self) -> None:
        self.tell(self.event())

    def _on_watch_stopped(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            log.error("the watch of session %s stopped", self.name, exc_info=error)
            self.end("internal", "the session failed; start it again")

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_INTERVAL_S)
            now = time.monotonic()
            await self.audience.check()
            if self._session.source.hearing or self._session.source.speech_left_s:
                self._busy_s = now
            if not self.audience.was_connected and now - self.audience.joined_s > MAX_SETUP_S:
                self.end("setup_timeout", f"no connection within {MAX_SETUP_S:.0f} s")
            elif self.audience.was_connected and self._is_deserted(now):
                self.end("viewer_gone", "the viewer's connection was lost")
            elif now - self._busy_s > MAX_IDLE_S:
                self.end("idle", f"nothing was said for {MAX_IDLE_S / 60:.0f} minutes")
            else:
                self._tell_state()

    def _is_deserted(self, now: float) -> bool:
        """Whether the last guest has gone, and is not expected back."""
        audience = self.audience
        if audience.left_s is None:
            return False
        return not audience.left_in_order or now - audience.left_s > self.max_alone_s
