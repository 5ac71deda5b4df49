"""The client of the speech websocket, against servers whose every answer is given.

That it works with the real server is in `test_sockets`.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from avacast.engine.errors import Unavailable
from avacast.streaming.speech_client import MAX_UNSENT_BYTES, SpeechClient, SpeechRefused
from avacast.streaming.speech_messages import MAX_WORD_CHARS, REQUEST
from avacast.streaming.speech_protocol import MAX_MESSAGE_BYTES
from avacast.streaming.tts import Pcm, Word, Words
from avacast.streaming.utterance import Interrupted

RATE_HZ = 24_000


@asynccontextmanager
async def connected(handler: Callable[[ServerConnection], Awaitable[None]]) -> AsyncGenerator[SpeechClient]:
    async with serve(handler, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with SpeechClient(url) as client:
            yield client


async def answer(connection: ServerConnection, kind: str, **fields: object) -> None:
    await connection.send(json.dumps({"type": kind, **fields}))


def test_it_never_sends_more_than_it_may_and_goes_on_when_it_may():
    """Pieces are small, whole samples, and all of it comes, however it was cut."""
    received: list[bytes] = []
    most = limit = 2_000 * RATE_HZ // 1000 * 2

    async def handler(connection: ServerConnection) -> None:
        nonlocal limit
        async for message in connection:
            if isinstance(message, bytes):
                received.append(message)
                assert sum(map(len, received)) <= limit
                if sum(map(len, received)) > limit - 2 * RATE_HZ // 5:
                    await asyncio.sleep(0.05)
                    limit += most
                    limit_ms = 1000 * limit // (2 * RATE_HZ)
                    await answer(connection, "flow", utterance_id="u", buffered_ms=0, limit_ms=limit_ms)
            elif json.loads(message)["type"] == "start":
                await answer(connection, "ready", utterance_id="u", limit_ms=2_000)
            elif json.loads(message)["type"] == "flush":
                await answer(
                    connection, "playback_finished", utterance_id="u", playback_position=7.0, interrupted=False
                )

    async def scenario() -> None:
        pcm = bytes(range(256)) * (7 * 2 * RATE_HZ // 256)
        async with connected(handler) as client:
            assert await client.start(RATE_HZ) == "u"
            for start in range(0, len(pcm), 4_321):
                await client.send(pcm[start : start + 4_321])
            await client.flush()
            assert (await client.finished("u")).playback_position == 7.0
        assert b"".join(received) == pcm
        assert max(map(len, received)) <= 2 * RATE_HZ // 10
        assert not any(len(message) % 2 for message in received)

    asyncio.run(scenario())


def test_an_interruption_ends_the_sending():
    async def handler(connection: ServerConnection) -> None:
        async for message in connection:
            if isinstance(message, str) and json.loads(message)["type"] == "start":
                await answer(connection, "ready", utterance_id="u", limit_ms=100)
                await answer(connection, "playback_finished", utterance_id="u", playback_position=0.1, interrupted=True)

    async def scenario() -> None:
        async with connected(handler) as client:
            await client.start(RATE_HZ)
            with pytest.raises(Interrupted):
                await client.send(bytes(10 * RATE_HZ))
            assert (await client.finished("u")).interrupted

    asyncio.run(scenario())


def test_a_refusal_is_raised_once_with_its_code():
    async def handler(connection: ServerConnection) -> None:
        starts = 0
        async for message in connection:
            if json.loads(message)["type"] == "start":
                starts += 1
                if starts == 1:
                    await answer(connection, "error", code="bad_format", message="not that rate")
                else:
                    await answer(connection, "ready", utterance_id="u", limit_ms=100)

    async def scenario() -> None:
        async with connected(handler) as client:
            with pytest.raises(SpeechRefused, match="not that rate") as refused:
                await client.start(1)
            assert refused.value.code == "bad_format"
            assert await client.start(RATE_HZ) == "u"

    asyncio.run(scenario())


class TimedTTS:
    """A service that says how it speaks, the words of its last piece after it."""

    sample_rate_hz = RATE_HZ

    async def speak(self, text: str) -> AsyncGenerator[Pcm | Words]:
        assert text == "Hello there."
        yield Pcm(bytes(RATE_HZ))
        yield Words((Word("Hello", 0.0, 0.25), Word("there.", 0.25, 0.5)))
        yield Words(tuple(Word("ü\t" * 1_000, 0.5, 0.5) for _ in range(40)))

    async def aclose(self) -> None:
        return


def test_what_a_service_says_is_told_with_its_sound():
    """The text with the start, for services that tell no times; words in messages that the server takes."""
    requests: list[dict[str, Any]] = []

    async def handler(connection: ServerConnection) -> None:
        async for message in connection:
            if isinstance(message, bytes):
                continue
            requests.append(json.loads(message))
            REQUEST.validate_json(message)
            assert len(message.encode()) <= MAX_MESSAGE_BYTES
            if requests[-1]["type"] == "start":
                await answer(connection, "ready", utterance_id="u", limit_ms=10_000)
            elif requests[-1]["type"] == "flush":
                await answer(
                    connection, "playback_finished", utterance_id="u", playback_position=0.5, interrupted=False
                )

    async def scenario() -> None:
        async with connected(handler) as client:
            await client.say(TimedTTS(), "Hello there.")

    asyncio.run(scenario())
    start, words, *many, flush, _ = requests
    told = [word for message in many for word in message["words"]]
    assert start["text"] == "Hello there."
    assert words == {"type": "words", "words": ["Hello", "there."], "start": [0.0, 0.25], "end": [0.25, 0.5]}
    assert {message["type"] for message in many} == {"words"}
    assert flush["type"] == "flush"
    assert "".join(told) == "ü\t" * 40_000
    assert max(map(len, told)) == MAX_WORD_CHARS


@pytest.mark.parametrize(("answers", "reason"), [([], "closed"), (["{}"], "not of this protocol")])
def test_a_server_that_goes_away_or_is_another_is_an_error_now_and_later(answers: list[str], reason: str):
    async def handler(connection: ServerConnection) -> None:
        await connection.recv()
        for message in answers:
            await connection.send(message)
        if not answers:
            await connection.close()
        await connection.wait_closed()

    async def scenario() -> None:
        async with connected(handler) as client:
            with pytest.raises(Unavailable, match=reason):
                await client.start(RATE_HZ)
            with pytest.raises(Unavailable, match=reason):
                await client.finished("u")

    asyncio.run(scenario())


def test_no_server_there_is_an_error():
    async def scenario() -> None:
        with pytest.raises(Unavailable, match="cannot be reached"):
            async with SpeechClient("ws://127.0.0.1:9"):
                pass

    asyncio.run(scenario())


def test_an_address_that_is_none_is_an_error():
    async def scenario() -> None:
        with pytest.raises(Unavailable, match=r"cannot be reached.*ws://"):
            async with SpeechClient("http://127.0.0.1:9/audio"):
                pass

    asyncio.run(scenario())


def test_sending_to_a_server_that_has_gone_is_the_same_error():
    """Whichever call meets it first: none lets the websocket library's own errors out."""

    async def handler(connection: ServerConnection) -> None:
        await connection.recv()
        await answer(connection, "ready", utterance_id="u", limit_ms=10_000)
        await connection.close(1001, "going away")

    async def scenario() -> None:
        async with connected(handler) as client:
            await client.start(RATE_HZ)
            await client._connection.wait_closed()
            for call in (client.flush(), client.send(bytes(4_800)), client.time((Word("a", 0, 1),)), client.clear()):
                with pytest.raises(Unavailable, match="closed the connection"):
                    await call

    asyncio.run(scenario())


@pytest.mark.skipif(not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="the system has no TCP_NOTSENT_LOWAT")
def test_little_waits_in_the_socket_so_that_a_clear_overtakes_the_rest():
    """A server that has stopped reading still gets the clear behind what its own buffers took, not behind megabytes."""

    async def handler(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async def scenario() -> None:
        async with connected(handler) as client:
            opened: socket.socket = client._connection.transport.get_extra_info("socket")
            assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == MAX_UNSENT_BYTES

    asyncio.run(scenario())
