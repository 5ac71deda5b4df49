"""One client of the speech websocket, from its first message to its last: the shell around `speech_protocol`.

Reading never stops: audio that may not come is refused rather than left in the socket, so that an interruption is
read at once. Knows a websocket and the session it speaks into; knows nothing of peers or of the engine.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Protocol

from starlette.websockets import WebSocket, WebSocketDisconnect

from avacast.engine.errors import AvacastError
from avacast.streaming.caption_feed import CaptionFeed
from avacast.streaming.captions import Captions
from avacast.streaming.clock import AUDIO_RATE_HZ
from avacast.streaming.pcm_stream import PcmStream
from avacast.streaming.session_events import Event
from avacast.streaming.speech_messages import (
    Cleared,
    Error,
    Flow,
    PlaybackFinished,
    PlaybackStarted,
    Ready,
    Resumed,
)
from avacast.streaming.speech_protocol import (
    Action,
    Begin,
    End,
    Interrupt,
    Leave,
    Sound,
    SpeechProtocol,
    TakeUp,
    Timed,
)
from avacast.streaming.utterance import Listeners, Utterance

MAX_REPLIES_WAITING = 256
"""Replies that wait for a client that does not read. Policy when full: the connection is closed, `slow_consumer`."""

MAX_ERRORS = 100
"""Refused messages of one connection. Policy beyond: it is closed, `too_many_errors`; the session goes on."""

CREDIT_INTERVAL_S = 0.1
MAX_CLOSE_S = 2.0

NORMAL, POLICY = 1000, 1008
"""Close codes of RFC 6455: done, and refused."""

Reply = Ready | Flow | PlaybackStarted | PlaybackFinished | Cleared | Resumed | Error


class SpokenTo(Protocol):
    """The session that a connection speaks into."""

    @property
    def buffered_ms(self) -> float:
        """Speech that waits."""
        ...

    def begin(self, utterance: Utterance) -> None:
        """Queues an utterance. Raises AvacastError when it cannot be."""
        ...

    def resume(self) -> float:
        """Takes up what was cut last; its length in seconds. Raises Unavailable when there is nothing to take up."""
        ...

    def clear(self) -> tuple[float, int]:
        """Silences everything; position of what was being said in seconds, and the new epoch."""
        ...

    def tell(self, event: Event) -> None:
        """Tells those who watch the session."""
        ...


class SpeechConnection:
    """Serves one accepted websocket; `run` returns when it has been closed."""

    def __init__(self, websocket: WebSocket, session: SpokenTo) -> None:
        self._websocket = websocket
        self._session = session
        self._protocol = SpeechProtocol()
        self._utterance: Utterance | None = None
        self._pcm: PcmStream | None = None
        self._captions = Captions("")
        self._replies: asyncio.Queue[Reply | None] = asyncio.Queue(MAX_REPLIES_WAITING)
        self._num_errors = 0
        self._close_code = NORMAL
        self._ending = asyncio.Event()

    async def run(self) -> None:
        reading = asyncio.create_task(self._read(), name="speech-read")
        writing = asyncio.create_task(self._write(), name="speech-write")
        crediting = asyncio.create_task(self._watch_credit(), name="speech-credit")
        ending = asyncio.create_task(self._ending.wait(), name="speech-ending")
        tasks: list[asyncio.Task[Any]] = [reading, writing, crediting, ending]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if self._ending.is_set():  # the last replies have so long to leave
                await asyncio.wait([writing], timeout=MAX_CLOSE_S)
        finally:
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            self._ending.set()
            self._end_utterance()  # a client that vanished in mid-sentence is said as far as it came
            await self._close()
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    def end(self, code: str, message: str) -> None:
        """Tells the client why, and closes."""
        self._close_code = POLICY
        self._reply(Error(code=code, message=message))
        self._finish_replies()

    def on_started(self, utterance: Utterance, pts_s: float) -> None:
        self._reply(PlaybackStarted(utterance_id=utterance.name, pts=round(pts_s, 4)))

    def on_heard(self, utterance: Utterance) -> None:
        """The client is told of beginning and end; in between it counts for itself."""

    def on_finished(self, utterance: Utterance, interrupted: bool) -> None:
        if utterance is self._utterance:
            self._protocol.cut()
        position = round(utterance.position_s, 4)
        self._reply(PlaybackFinished(utterance_id=utterance.name, playback_position=position, interrupted=interrupted))

    async def _read(self) -> None:
        with contextlib.suppress(WebSocketDisconnect):
            while not self._ending.is_set():
                message = await self._websocket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                text = message.get("text")
                self._receive(message["bytes"] if text is None else text)
                await asyncio.sleep(0)  # a flood must not keep the loop to itself, nor the replies waiting

    def _receive(self, message: str | bytes) -> None:
        try:
            action = self._protocol.receive(message, self._session.buffered_ms)
            if action is not None:
                self._do(action)
        except AvacastError as error:
            self._refuse(error)

    def _do(self, action: Action) -> None:
        match action:
            case Begin():
                self._begin(action)
            case Sound(pcm=pcm):
                assert self._utterance
                assert self._pcm
                self._utterance.push(self._pcm.push(pcm))
            case Timed(words=words):
                self._captions.add(words)
            case End():
                self._end_utterance()
            case Interrupt():
                position_s, epoch = self._session.clear()
                self._utterance = self._pcm = None
                self._reply(Cleared(playback_position=round(position_s, 4), epoch=epoch))
            case TakeUp():
                self._reply(Resumed(duration_ms=round(1000 * self._session.resume())))
            case Leave():
                self._end_utterance()
                self._finish_replies()

    def _begin(self, begin: Begin) -> None:
        captions = Captions(begin.text)
        utterance = Utterance(begin.utterance_id, Listeners(self, CaptionFeed(captions, self._session.tell)))
        try:
            self._session.begin(utterance)
        except AvacastError:
            self._protocol.cut()
            raise
        self._utterance, self._pcm, self._captions = utterance, PcmStream(begin.rate_hz), captions
        self._reply(self._protocol.ready())

    def _end_utterance(self) -> None:
        utterance, pcm = self._utterance, self._pcm
        self._utterance = self._pcm = None
        if utterance and pcm:
            utterance.push(pcm.flush())
            self._captions.stretch(utterance.num_pushed / AUDIO_RATE_HZ)
            utterance.end()

    def _refuse(self, error: AvacastError) -> None:
        self._num_errors += 1
        if self._num_errors > MAX_ERRORS:
            self.end("too_many_errors", f"more than {MAX_ERRORS} messages of this connection were refused")
        else:
            self._reply(Error(code=error.code, message=str(error)))

    def _reply(self, reply: Reply) -> None:
        if self._ending.is_set():
            return
        if self._replies.full():
            self._close_code = POLICY
            self._replies.get_nowait()
            self._replies.put_nowait(Error(code="slow_consumer", message="the replies are not read; connect again"))
            self._finish_replies()
        else:
            self._replies.put_nowait(reply)

    def _finish_replies(self) -> None:
        if self._ending.is_set():
            return
        self._ending.set()
        if self._replies.full():
            self._replies.get_nowait()
        self._replies.put_nowait(None)

    async def _write(self) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # it was closed while this was on its way
            while (reply := await self._replies.get()) is not None:
                await self._websocket.send_text(reply.model_dump_json())

    async def _watch_credit(self) -> None:
        while True:
            await asyncio.sleep(CREDIT_INTERVAL_S)
            if flow := self._protocol.flow(self._session.buffered_ms):
                self._reply(flow)

    async def _close(self) -> None:
        """A client that does not read does not get the closing either: after a while it is left to the transport."""
        with contextlib.suppress(RuntimeError, WebSocketDisconnect, TimeoutError):
            async with asyncio.timeout(MAX_CLOSE_S):
                await self._websocket.close(self._close_code)
