"""The client of the speech websocket: any program that has speech makes an avatar say it.

    async with SpeechClient("ws://127.0.0.1:8080/v1/sessions/ID/audio") as client:
        finished = await client.say(tts, "Hello there.")

It keeps the server's credit, so that an interruption never waits behind much audio. Knows websockets and the messages
of the protocol; knows nothing of sessions, nor of where the sound comes from.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from types import TracebackType

from pydantic import ValidationError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from avacast.engine.errors import AvacastError, Unavailable
from avacast.streaming.speech_messages import (
    MAX_TEXT_CHARS,
    REPLY,
    Clear,
    Cleared,
    Close,
    Error,
    Flow,
    Flush,
    PlaybackFinished,
    PlaybackStarted,
    Ready,
    Resume,
    Resumed,
    Start,
    word_times,
)
from avacast.streaming.tts import TTS, Pcm, Word
from avacast.streaming.utterance import Interrupted

PIECE_MS = 100
"""Sound in one message: what an interruption waits for at most on its way into the socket."""

MAX_UNSENT_BYTES = 16_384
"""What the socket may hold that the network has not taken: a third of a second at 24 kHz, where the usual megabytes
would keep an interruption back for as long as they play."""

MAX_FINISHED = 64
"""Utterances whose end is remembered for `finished`. Policy when full: the oldest is forgotten."""

SAMPLE_BYTES = 2


class SpeechRefused(AvacastError):
    """The server refused a message; `code` is the server's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class SpeechClient:
    """One connection into one session. One utterance after the other."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._changed = asyncio.Condition()
        self._utterance_id: str | None = None
        self._rate_hz = 0
        self._split = b""
        self._num_sent = 0
        self._limit_ms = 0
        self._num_clears = 0
        self._cleared: Cleared | None = None
        self._resumed: Resumed | None = None
        self._started: PlaybackStarted | None = None
        self._finished: dict[str, PlaybackFinished] = {}
        self._error: AvacastError | None = None

    async def __aenter__(self) -> SpeechClient:
        """Raises Unavailable when the server cannot be reached."""
        try:
            self._connection = await connect(self._url, compression=None, write_limit=MAX_UNSENT_BYTES)
        except (OSError, TimeoutError, InvalidHandshake, InvalidURI) as error:
            text = f"{self._url} cannot be reached ({error}); it begins with ws:// or wss:// and names a session"
            raise Unavailable(text) from error
        _bound_unsent(self._connection)
        self._reading = asyncio.create_task(self._read(), name="speech-client")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with contextlib.suppress(AvacastError):
            await self._send(Close().model_dump_json())
        await self._connection.close()
        await self._reading

    async def say(self, tts: TTS, text: str) -> PlaybackFinished:
        """Speaks `text` with a speech service, captions too; returns when it has been heard, or was interrupted.

        Raises what the service raises, and SpeechRefused.
        """
        utterance_id = await self.start(tts.sample_rate_hz, text=text[:MAX_TEXT_CHARS])
        with contextlib.suppress(Interrupted):
            async with contextlib.aclosing(tts.speak(text)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Pcm):
                        await self.send(piece.data)
                    else:
                        await self.time(piece.words)
            await self.flush()
        return await self.finished(utterance_id)

    async def start(self, sample_rate_hz: int, utterance_id: str | None = None, text: str = "") -> str:
        """Begins an utterance of PCM16 mono, which says `text` as far as that is known; returns its name."""
        self._utterance_id, self._rate_hz, self._num_sent, self._split = None, sample_rate_hz, 0, b""
        self._started = None
        start = Start(sample_rate=sample_rate_hz, utterance_id=utterance_id, text=text)
        await self._send(start.model_dump_json())
        await self._until(lambda: self._utterance_id is not None)
        assert self._utterance_id
        return self._utterance_id

    async def send(self, pcm: bytes) -> None:
        """Sends PCM16LE of any length, as fast as the credit allows. A sample may be split between two calls.

        Raises Interrupted when the utterance was cut.
        """
        joined = self._split + pcm
        num_whole = len(joined) - len(joined) % SAMPLE_BYTES
        self._split = joined[num_whole:]
        piece_bytes = SAMPLE_BYTES * self._rate_hz * PIECE_MS // 1000
        for offset in range(0, num_whole, piece_bytes):
            piece = joined[offset : min(offset + piece_bytes, num_whole)]
            sent_ms = 1000 * (self._num_sent + len(piece) // SAMPLE_BYTES) / self._rate_hz
            await self._until(lambda sent_ms=sent_ms: self._interrupted or sent_ms <= self._limit_ms)
            if self._interrupted:
                raise Interrupted("the utterance was interrupted")
            await self._send(piece)
            self._num_sent += len(piece) // SAMPLE_BYTES

    async def time(self, words: tuple[Word, ...]) -> None:
        """Tells when words of the utterance are heard, for captions: in order, about when their sound is sent.

        Raises ValueError for times below 0.
        """
        for times in word_times(words):
            await self._send(times.model_dump_json())

    async def flush(self) -> None:
        """The utterance is complete."""
        await self._send(Flush().model_dump_json())

    async def clear(self) -> Cleared:
        """Silences the avatar now; returns how far it came."""
        self._cleared = None
        await self._send(Clear().model_dump_json())
        await self._until(lambda: self._cleared is not None)
        assert self._cleared
        return self._cleared

    async def resume(self) -> Resumed:
        """Takes up what the last `clear` cut: the avatar goes on where it fell silent. Raises SpeechRefused."""
        self._resumed = None
        self._finished.clear()
        await self._send(Resume().model_dump_json())
        await self._until(lambda: self._resumed is not None)
        assert self._resumed
        return self._resumed

    async def started(self) -> PlaybackStarted:
        """Waits until the present utterance is heard."""
        await self._until(lambda: self._started is not None)
        assert self._started
        return self._started

    async def finished(self, utterance_id: str) -> PlaybackFinished:
        """Waits until an utterance has been heard or was cut."""
        await self._until(lambda: utterance_id in self._finished)
        return self._finished.pop(utterance_id)

    @property
    def _interrupted(self) -> bool:
        return self._utterance_id in self._finished

    async def _send(self, message: str | bytes) -> None:
        """Raises Unavailable, or what the server said last, when the connection has been closed."""
        try:
            await self._connection.send(message)
        except ConnectionClosed:
            await self._reading  # which knows why
            assert self._error
            raise self._error from None

    async def _until(self, holds: Callable[[], bool]) -> None:
        """Raises SpeechRefused if the server refuses something meanwhile."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._error is not None or holds())
        if isinstance(self._error, SpeechRefused):
            error, self._error = self._error, None  # what was refused had no effect, and all goes on
            raise error
        if self._error:
            raise self._error

    async def _read(self) -> None:
        try:
            async for message in self._connection:
                async with self._changed:
                    self._note(REPLY.validate_json(message))
                    self._changed.notify_all()
            reason = "the server closed the connection"
        except ConnectionClosed as error:
            reason = f"the connection was lost ({error})"
        except ValidationError:
            reason = "the server sent what is not of this protocol; is the address right?"
        async with self._changed:
            self._error = self._error or Unavailable(reason)
            self._changed.notify_all()

    def _note(self, reply: Ready | Flow | PlaybackStarted | PlaybackFinished | Cleared | Resumed | Error) -> None:
        match reply:
            case Ready():
                self._utterance_id, self._limit_ms = reply.utterance_id, reply.limit_ms
            case Flow() if reply.utterance_id == self._utterance_id:
                self._limit_ms = reply.limit_ms
            case PlaybackStarted():
                self._started = reply
            case PlaybackFinished():
                self._finished[reply.utterance_id] = reply
                if len(self._finished) > MAX_FINISHED:
                    del self._finished[next(iter(self._finished))]
            case Cleared():
                self._cleared = reply
            case Resumed():
                self._resumed = reply
            case Error():
                self._error = SpeechRefused(reply.code, reply.message)
            case _:
                pass


def _bound_unsent(connection: ClientConnection) -> None:
    opened: socket.socket | None = connection.transport.get_extra_info("socket")
    if opened and opened.family in (socket.AF_INET, socket.AF_INET6) and hasattr(socket, "TCP_NOTSENT_LOWAT"):
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, MAX_UNSENT_BYTES)
