"""A speech service behind a websocket: the connection that drives any `Vendor`, one utterance at a time.

The connection is opened by the first text and kept, so that later ones begin at once; a vendor that closed it in
between is connected again without a word. Knows websockets; knows nothing of any vendor's messages, nor of who listens.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.protocol import State

from avacast.streaming.tts import Done, Event, Failure, Pcm, SpeechServiceError, Vendor, Words, read_events

MAX_CONNECT_S = 5.0
MAX_SILENCE_S = 10.0
"""A service that sends nothing of an utterance for so long has failed, whatever else it sends."""

MAX_CANCEL_S = 1.0
MAX_MESSAGE_BYTES = 4_194_304
"""Of one message: about 60 s of sound in base64."""


class TTSClient:
    """The connection to one vendor. Not for two texts at the same time."""

    def __init__(self, vendor: Vendor) -> None:
        self._vendor = vendor
        self._connection: ClientConnection | None = None
        self._num_utterances = 0

    @property
    def sample_rate_hz(self) -> int:
        return self._vendor.sample_rate_hz

    async def speak(self, text: str) -> AsyncGenerator[Pcm | Words]:
        """Synthesises `text`; closing the generator early stops the vendor. Raises SpeechServiceError."""
        self._num_utterances += 1
        utterance = f"utterance-{self._num_utterances}"
        connection = await self._request(utterance, text)
        finished, heard_s = False, asyncio.get_running_loop().time()
        try:
            while not finished:
                for event in await self._next_events(connection, heard_s + MAX_SILENCE_S):
                    if event.utterance not in (None, utterance):
                        continue  # what is left of one that was stopped
                    match event.body:
                        case Pcm() | Words() as piece:
                            yield piece
                        case Done():
                            finished = True
                        case Failure(message=message):
                            finished = True
                            raise SpeechServiceError(f"{self._vendor.name} could not speak: {message[:200]}")
                    heard_s = asyncio.get_running_loop().time()  # whoever listens may have taken his time
        finally:
            if not finished:
                await self._cancel(connection, utterance)

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection:
            await connection.close()

    async def _request(self, utterance: str, text: str) -> ClientConnection:
        """Asks for the text, on a fresh connection if the old one turns out to be closed."""
        kept = self._connection
        if kept and kept.state is State.OPEN:
            with contextlib.suppress(ConnectionClosed):
                await _send(kept, self._vendor.speak(utterance, text))
                return kept
        self._connection = await self._connect()
        try:
            await _send(self._connection, [*self._vendor.greet(), *self._vendor.speak(utterance, text)])
        except ConnectionClosed as error:
            raise self._lost(error) from error
        return self._connection

    async def _connect(self) -> ClientConnection:
        name = self._vendor.name
        try:
            return await connect(
                self._vendor.url,
                additional_headers=dict(self._vendor.headers),
                open_timeout=MAX_CONNECT_S,
                close_timeout=MAX_CANCEL_S,
                max_size=MAX_MESSAGE_BYTES,
            )
        except InvalidStatus as error:
            status = error.response.status_code
            advice = "check its key" if status in (401, 403) else "check voice, model and account"
            raise SpeechServiceError(f"{name} refused the connection with HTTP status {status}; {advice}") from error
        except (OSError, TimeoutError, InvalidHandshake, InvalidURI) as error:
            raise SpeechServiceError(f"{name} cannot be reached ({error or 'no answer in time'})") from error

    async def _next_events(self, connection: ClientConnection, deadline_s: float) -> list[Event]:
        """The events of the next message, waited for until `deadline_s` of the event loop's clock."""
        try:
            async with asyncio.timeout_at(deadline_s):
                message = await connection.recv()
        except ConnectionClosed as error:
            raise self._lost(error) from error
        except TimeoutError as error:
            self._give_up(connection)  # it may lead nowhere; the next text is asked for over another
            text = f"{self._vendor.name} sent nothing for {MAX_SILENCE_S:.0f} s; try again"
            raise SpeechServiceError(text) from error
        return read_events(self._vendor, message)

    async def _cancel(self, connection: ClientConnection, utterance: str) -> None:
        """Stops what nobody will hear. If that cannot be said, the connection is given up instead."""
        try:
            async with asyncio.timeout(MAX_CANCEL_S):
                await _send(connection, self._vendor.cancel(utterance))
        except (ConnectionClosed, TimeoutError):
            self._give_up(connection)

    def _give_up(self, connection: ClientConnection) -> None:
        self._connection = None
        connection.transport.abort()

    def _lost(self, error: ConnectionClosed) -> SpeechServiceError:
        reason = error.rcvd.reason if error.rcvd else "without a reason"
        return SpeechServiceError(f"{self._vendor.name} closed the connection ({reason or 'without a reason'})")


async def _send(connection: ClientConnection, messages: list[str]) -> None:
    for message in messages:
        await connection.send(message)
