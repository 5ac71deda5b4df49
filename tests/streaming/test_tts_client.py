"""The connection to a speech service, against servers on this machine that speak each vendor's shapes.

The servers are made from what the vendors document, not from our mappers: they check the key, where it is sent, and
every field they need, and they answer as the vendors do, in pieces.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from http import HTTPStatus
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from avacast.streaming import tts_client
from avacast.streaming.tts import Pcm, SpeechServiceError, Vendor, Words
from avacast.streaming.tts_cartesia import Cartesia
from avacast.streaming.tts_client import TTSClient
from avacast.streaming.tts_deepgram import Deepgram
from avacast.streaming.tts_elevenlabs import ElevenLabs
from avacast.streaming.tts_openai import OpenAIRealtime
from avacast.streaming.tts_rime import Rime

KEY = "the-key"
PIECE = 999
"""Odd on purpose: a sample may be split between two messages."""


def sound_of(text: str) -> bytes:
    """The sound that every server makes of a text: 2000 bytes for each of its characters."""
    return b"".join(bytes([ord(char) % 256]) * 2_000 for char in text.strip())


def pieces_of(text: str) -> list[bytes]:
    sound = sound_of(text)
    return [sound[start : start + PIECE] for start in range(0, len(sound), PIECE)]


def encoded(piece: bytes) -> str:
    return base64.b64encode(piece).decode()


async def elevenlabs(connection: ServerConnection) -> None:
    """Speaks what was flushed; tells the end of a context only when it is closed; ids restart nothing."""
    texts: dict[str, str] = {}
    async for message in connection:
        request = json.loads(message)
        if "context_id" not in request:
            continue
        context = request["context_id"]
        texts[context] = texts.get(context, "") + request.get("text", "")
        if request.get("flush"):
            for piece in pieces_of(texts.pop(context)):
                await connection.send(json.dumps({"audio": encoded(piece), "contextId": context, "alignment": None}))
        if request.get("close_context"):
            await connection.send(json.dumps({"isFinal": True, "contextId": context}))


async def cartesia(connection: ServerConnection) -> None:
    async for message in connection:
        request = json.loads(message)
        context = {"context_id": request["context_id"]}
        if request.get("cancel"):
            await connection.send(json.dumps({"type": "done", "done": True, **context}))
            continue
        assert request["output_format"] == {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24_000}
        for piece in pieces_of(request["transcript"]):
            await connection.send(json.dumps({"type": "chunk", "data": encoded(piece), "done": False, **context}))
        times = {"words": ["Hello"], "start": [0.0], "end": [0.5]}
        await connection.send(json.dumps({"type": "timestamps", "word_timestamps": times, **context}))
        await connection.send(json.dumps({"type": "done", "done": True, **context}))


async def deepgram(connection: ServerConnection) -> None:
    await connection.send(json.dumps({"type": "Metadata", "request_id": "r", "model_name": "m"}))
    text, sequence = "", 0
    async for message in connection:
        request = json.loads(message)
        match request["type"]:
            case "Speak":
                text += request["text"]
            case "Flush":
                for piece in pieces_of(text):
                    await connection.send(piece)
                await connection.send(json.dumps({"type": "Flushed", "sequence_id": sequence}))
                text, sequence = "", sequence + 1
            case "Clear":
                text = ""
                await connection.send(json.dumps({"type": "Cleared", "sequence_id": sequence}))
            case _:
                await connection.send(json.dumps({"type": "Warning", "description": "unknown"}))


async def rime(connection: ServerConnection) -> None:
    waiting: list[tuple[str, str]] = []
    async for message in connection:
        request = json.loads(message)
        match request.get("operation"):
            case None:
                waiting.append((request["contextId"], request["text"]))
            case "flush":
                for context, text in waiting:
                    for piece in pieces_of(text):
                        await connection.send(
                            json.dumps({"type": "chunk", "data": encoded(piece), "contextId": context})
                        )
                    await connection.send(json.dumps({"type": "done", "contextId": context}))
                waiting.clear()
            case "clear":
                waiting.clear()


async def openai(connection: ServerConnection) -> None:
    await connection.send(json.dumps({"type": "session.created", "session": {"id": "s"}}))
    configured, number = False, 0
    async for message in connection:
        request = json.loads(message)
        match request["type"]:
            case "session.update":
                assert request["session"]["audio"]["output"]["format"] == {"type": "audio/pcm", "rate": 24_000}
                configured = True
                await connection.send(json.dumps({"type": "session.updated", "session": request["session"]}))
            case "response.create":
                assert configured
                number += 1
                response = {
                    "id": f"resp_{number}",
                    "status": "in_progress",
                    "metadata": request["response"]["metadata"],
                }
                await connection.send(json.dumps({"type": "response.created", "response": response}))
                named = {"response_id": response["id"]}
                for piece in pieces_of(request["response"]["input"][0]["content"][0]["text"]):
                    delta = {"type": "response.output_audio.delta", "delta": encoded(piece), **named}
                    await connection.send(json.dumps(delta))
                await connection.send(json.dumps({"type": "response.output_audio.done", **named}))
                response["status"] = "completed"
                await connection.send(json.dumps({"type": "response.done", "response": response}))
            case "response.cancel":
                error = {"code": "response_cancel_not_active", "message": "no active response"}
                await connection.send(json.dumps({"type": "error", "error": error}))


Serve = Callable[[ServerConnection], Awaitable[None]]
VENDORS: dict[type[Any], tuple[Serve, str, str, str]] = {
    ElevenLabs: (elevenlabs, "xi-api-key", KEY, "/v1/text-to-speech/"),
    Cartesia: (cartesia, "X-API-Key", KEY, "/tts/websocket"),
    Deepgram: (deepgram, "Authorization", f"Token {KEY}", "/v1/speak"),
    Rime: (rime, "Authorization", f"Bearer {KEY}", "/ws3"),
    OpenAIRealtime: (openai, "Authorization", f"Bearer {KEY}", "/v1/realtime"),
}


class Mock:
    """A vendor's server: where it is, and how many connections and which messages have come."""

    def __init__(self, make: type[Any], handler: Serve | None = None) -> None:
        self.num_connections = 0
        self.open: list[ServerConnection] = []
        self.url = ""
        self._handler, self._header, self._value, self._path = VENDORS[make]
        self._handler = handler or self._handler

    def check(self, connection: ServerConnection, request: Request) -> Response | None:
        assert request.path.startswith(self._path)
        if request.headers.get(self._header) != self._value:
            return connection.respond(HTTPStatus.UNAUTHORIZED, "no")
        return None

    async def handle(self, connection: ServerConnection) -> None:
        self.num_connections += 1
        self.open.append(connection)
        with contextlib.suppress(ConnectionClosed):
            await self._handler(connection)


@contextlib.asynccontextmanager
async def serving(make: type[Any], handler: Serve | None = None) -> AsyncGenerator[Mock]:
    mock = Mock(make, handler)
    async with serve(mock.handle, "127.0.0.1", 0, process_request=mock.check) as server:
        mock.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield mock


async def speak(client: TTSClient, text: str) -> bytes:
    return b"".join([piece.data async for piece in client.speak(text) if isinstance(piece, Pcm)])


@pytest.fixture(params=VENDORS, ids=lambda make: make.name)
def make(request: pytest.FixtureRequest) -> type[Any]:
    return request.param


def test_every_byte_comes_and_later_texts_use_the_same_connection(make: type[Vendor]):
    async def scenario() -> None:
        async with serving(make) as mock:
            client = TTSClient(make(KEY, url=mock.url))
            for text in ("Hello there.", "One more.", "And another one."):
                assert await speak(client, text) == sound_of(text)
            assert mock.num_connections == 1
            await client.aclose()

    asyncio.run(scenario())


def test_an_interruption_leaves_nothing_of_it_in_what_comes_next(make: type[Vendor]):
    """The generator is closed in the middle; the next text is heard whole, without a byte of the one before."""

    async def scenario() -> None:
        async with serving(make) as mock:
            client = TTSClient(make(KEY, url=mock.url))
            speech = client.speak("Aaaaaaaaaaaaaaa.")
            assert await anext(speech) == Pcm(pieces_of("A")[0])
            await speech.aclose()
            assert await speak(client, "Next.") == sound_of("Next.")
            await client.aclose()

    asyncio.run(scenario())


def test_a_connection_that_the_vendor_closed_is_opened_again(make: type[Vendor]):
    async def scenario() -> None:
        async with serving(make) as mock:
            client = TTSClient(make(KEY, url=mock.url))
            assert await speak(client, "One.") == sound_of("One.")
            await mock.open[0].close(1000, "idle")
            assert await speak(client, "Two.") == sound_of("Two.")
            assert mock.num_connections == 2
            await client.aclose()

    asyncio.run(scenario())


def test_a_refused_key_says_so(make: type[Vendor]):
    async def scenario() -> None:
        async with serving(make) as mock:
            client = TTSClient(make("another key", url=mock.url))
            with pytest.raises(SpeechServiceError, match=rf"{make.name} refused the connection.* 401; check its key"):
                await speak(client, "Hello.")

    asyncio.run(scenario())


def test_the_times_of_words_come_too():
    async def scenario() -> None:
        async with serving(Cartesia) as mock:
            client = TTSClient(Cartesia(KEY, url=mock.url))
            (words,) = [piece async for piece in client.speak("Hello") if isinstance(piece, Words)]
            assert [(word.text, word.start_s, word.end_s) for word in words.words] == [("Hello", 0.0, 0.5)]
            await client.aclose()

    asyncio.run(scenario())


def test_a_vendor_that_refuses_is_quoted_and_the_connection_kept():
    async def refuse(connection: ServerConnection) -> None:
        async for message in connection:
            context = json.loads(message)["context_id"]
            await connection.send(json.dumps({"type": "error", "message": "no credit left", "context_id": context}))

    async def scenario() -> None:
        async with serving(Cartesia, refuse) as mock:
            client = TTSClient(Cartesia(KEY, url=mock.url))
            for _ in range(2):
                with pytest.raises(SpeechServiceError, match="cartesia could not speak: no credit left"):
                    await speak(client, "Hello.")
            assert mock.num_connections == 1
            await client.aclose()

    asyncio.run(scenario())


def test_a_vendor_that_goes_away_in_the_middle_is_an_error_with_its_reason():
    async def leave(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send(b"\1\2")
        await connection.close(1011, "overloaded")

    async def scenario() -> None:
        async with serving(Deepgram, leave) as mock:
            client = TTSClient(Deepgram(KEY, url=mock.url))
            with pytest.raises(SpeechServiceError, match=r"deepgram closed the connection \(overloaded\)"):
                await speak(client, "Hello.")
            await client.aclose()

    asyncio.run(scenario())


def test_a_vendor_that_falls_silent_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tts_client, "MAX_SILENCE_S", 0.1)

    async def say_nothing(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async def scenario() -> None:
        async with serving(Rime, say_nothing) as mock:
            client = TTSClient(Rime(KEY, url=mock.url))
            with pytest.raises(SpeechServiceError, match="rime sent nothing"):
                await speak(client, "Hello.")
            await client.aclose()

    asyncio.run(scenario())


def test_the_text_after_a_silence_goes_over_a_fresh_connection(monkeypatch: pytest.MonkeyPatch):
    """The old one may lead nowhere, as after a change of networks; and messages that bring no sound are silence too."""
    monkeypatch.setattr(tts_client, "MAX_SILENCE_S", 0.3)
    num_connections = 0

    async def first_chatter_then_speak(connection: ServerConnection) -> None:
        nonlocal num_connections
        num_connections += 1
        if num_connections > 1:
            await rime(connection)
        with contextlib.suppress(ConnectionClosed):
            while True:
                await connection.send(json.dumps({"type": "timestamps", "contextId": "another"}))
                await asyncio.sleep(0.05)

    async def scenario() -> None:
        async with serving(Rime, first_chatter_then_speak) as mock:
            client = TTSClient(Rime(KEY, url=mock.url))
            async with asyncio.timeout(5):
                with pytest.raises(SpeechServiceError, match="rime sent nothing"):
                    await speak(client, "One.")
            assert await speak(client, "Two.") == sound_of("Two.")
            assert mock.num_connections == 2
            await client.aclose()

    asyncio.run(scenario())


def test_no_server_there_is_an_error():
    async def scenario() -> None:
        with pytest.raises(SpeechServiceError, match="elevenlabs cannot be reached"):
            await speak(TTSClient(ElevenLabs(KEY, url="ws://127.0.0.1:9")), "Hello.")

    asyncio.run(scenario())
