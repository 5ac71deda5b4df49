"""The websockets of a running server with the tiny model: speech streamed in, and vendors by configuration."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpx
import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websocket
from websockets.exceptions import ConnectionClosed, ConnectionClosedError
from websockets.sync.client import ClientConnection, connect

from avacast.streaming.http_server import MAX_WEBSOCKET_BYTES
from avacast.streaming.speech_client import SpeechClient, SpeechRefused
from avacast.streaming.tts_catalogue import tts_factory
from avacast.streaming.tts_espeak import EspeakTTS
from avacast.streaming.utterance import Interrupted

RATE_HZ = 24_000
Serve = Callable[..., AbstractContextManager[str]]

START = {"type": "start", "sample_rate": RATE_HZ, "utterance_id": "u"}


class ElevenLabsMock:
    """A server of ElevenLabs' shapes in a thread of its own: a text of n characters is n tenths of a second."""

    def __init__(self) -> None:
        self.url = ""
        self.keys: list[str | None] = []
        self._ready, self._done = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._run(),))
        self._thread.start()
        assert self._ready.wait(10)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(10)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with serve_websocket(self._handle, "127.0.0.1", 0) as server:
            self.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            self._ready.set()
            await self._done.wait()

    async def _handle(self, connection: ServerConnection) -> None:
        assert connection.request
        self.keys.append(connection.request.headers.get("xi-api-key"))
        texts: dict[str, str] = {}
        with contextlib.suppress(ConnectionClosed):
            async for message in connection:
                request: dict[str, Any] = json.loads(message)
                context = request["context_id"]
                texts[context] = texts.get(context, "") + request.get("text", "")
                if request.get("flush") and "refuse" in texts[context]:
                    await connection.send(json.dumps({"message": "no credit left", "contextId": context, "code": 1008}))
                elif request.get("flush"):
                    piece = base64.b64encode(loud(0.1)).decode()
                    for _ in texts[context].strip():
                        await connection.send(json.dumps({"audio": piece, "contextId": context}))
                if request.get("close_context"):
                    await connection.send(json.dumps({"isFinal": True, "contextId": context}))


@pytest.fixture(scope="module")
def vendor() -> Generator[ElevenLabsMock]:
    mock = ElevenLabsMock()
    yield mock
    mock.close()


@pytest.fixture(scope="module")
def base(serve_tiny: Serve, vendor: ElevenLabsMock) -> Generator[str]:
    """Address of a running server as `--tts elevenlabs` makes it."""
    make_tts = tts_factory("elevenlabs", {"ELEVENLABS_API_KEY": "the-key"}, url=vendor.url)
    with serve_tiny(max_sessions=2, make_tts=make_tts) as address:
        yield address


@pytest.fixture
def session(base: str) -> Generator[str]:
    """The address of a fresh session; ended, and its place free again, afterwards."""
    with httpx.Client(base_url=base) as client:
        name: str = client.post("/api/sessions", json={"portrait": "ada"}).raise_for_status().json()["id"]
        yield f"{base}/api/sessions/{name}"
        while client.delete(f"/api/sessions/{name}").status_code != 404:
            pass


@pytest.fixture
def audio(session: str) -> str:
    """The address of the session's speech websocket."""
    return session.replace("http://", "ws://").replace("/api/", "/v1/") + "/audio"


def loud(duration_s: float) -> bytes:
    return np.full(round(RATE_HZ * duration_s), 8_000, "<i2").tobytes()


def say(websocket: ClientConnection, message: dict[str, Any] | str | bytes) -> None:
    websocket.send(json.dumps(message) if isinstance(message, dict) else message)


def replies(websocket: ClientConnection) -> Iterator[dict[str, Any]]:
    while True:
        yield json.loads(websocket.recv(20))


def until(websocket: ClientConnection, kind: str) -> dict[str, Any]:
    """The next reply of this kind; those before it are left out."""
    return next(reply for reply in replies(websocket) if reply["type"] == kind)


def test_an_utterance_is_said_and_its_end_told_on_time(audio: str):
    with connect(audio) as websocket:
        say(websocket, START)
        assert until(websocket, "ready") == {"type": "ready", "utterance_id": "u", "limit_ms": 10_000}
        say(websocket, loud(0.7))
        say(websocket, {"type": "flush"})
        until(websocket, "playback_started")
        started = time.monotonic()
        finished = until(websocket, "playback_finished")
        assert finished == {
            "type": "playback_finished",
            "utterance_id": "u",
            "playback_position": 0.7,
            "interrupted": False,
        }
        # The last sample leaves 0.7 s after the first; where the engine is late, the slots wait for it.
        assert 0.6 < time.monotonic() - started < 3


def test_nonsense_gets_a_coded_error_and_the_session_lives_on(audio: str):
    """Wrong JSON, audio before start, unknown rates, two starts, odd byte counts, 64 KiB and more: each is refused
    alone, on the same connection, and the utterance is heard whole.
    """
    with connect(audio, max_size=None) as websocket:
        for message, code in (
            ("{", "bad_message"),
            (b"\0\0", "not_started"),
            ({"type": "start", "sample_rate": 12}, "bad_format"),
            (bytes(65_537), "message_too_big"),
            (" " * 200_000, "message_too_big"),
        ):
            say(websocket, message)
            assert until(websocket, "error")["code"] == code
        say(websocket, START)
        until(websocket, "ready")
        for message, code in ((START, "already_started"), (b"\0\0\0", "bad_pcm")):
            say(websocket, message)
            assert until(websocket, "error")["code"] == code
        say(websocket, loud(0.3))
        say(websocket, {"type": "flush"})
        assert until(websocket, "playback_finished")["playback_position"] == 0.3


def test_a_message_beyond_all_bounds_closes_the_connection_and_not_the_session(audio: str):
    with connect(audio, max_size=None) as websocket:
        with contextlib.suppress(ConnectionClosed):
            websocket.send(bytes(MAX_WEBSOCKET_BYTES + 1))
        with pytest.raises(ConnectionClosedError):
            until(websocket, "error")
        assert websocket.close_code == 1009
    test_an_utterance_is_said_and_its_end_told_on_time(audio)


def test_an_unknown_session_and_a_foreign_page_are_refused(base: str, audio: str):
    with connect(f"{base.replace('http', 'ws')}/v1/sessions/nobody/audio") as websocket:
        assert until(websocket, "error")["code"] == "not_found"
        with pytest.raises(ConnectionClosedError, match="1008"):
            websocket.recv(5)
    with connect(audio, origin="https://evil.example") as websocket:  # type: ignore[arg-type]
        assert until(websocket, "error")["code"] == "foreign_origin"


def test_a_later_client_takes_the_place_of_the_one_before(audio: str):
    """A client that lost its connection is not locked out by what is left of it."""
    with connect(audio) as first, connect(audio) as second:
        assert until(first, "error")["code"] == "replaced"
        say(second, START)
        until(second, "ready")


def test_the_end_of_the_session_is_told(audio: str, session: str):
    with connect(audio) as websocket:
        say(websocket, START)
        until(websocket, "ready")
        httpx.delete(session).raise_for_status()
        assert until(websocket, "error")["code"] == "session_closed"
        with pytest.raises(ConnectionClosedError, match="1008"):
            websocket.recv(5)


def test_a_clear_over_http_interrupts_what_is_streamed(audio: str, session: str):
    with connect(audio) as websocket:
        say(websocket, START)
        until(websocket, "ready")
        for _ in range(5):
            say(websocket, loud(1.0))
        until(websocket, "playback_started")
        cleared = httpx.post(f"{session}/clear").raise_for_status().json()
        finished = until(websocket, "playback_finished")
        assert finished["interrupted"]
        assert finished["playback_position"] == cleared["playback_position"]
        assert cleared["epoch"] == 1


def test_the_client_speaks_with_any_service_and_can_interrupt(audio: str):
    """The embedded voice through the websocket; then a long text, cut in the middle."""

    async def scenario() -> None:
        async with SpeechClient(audio) as client:
            finished = await client.say(EspeakTTS(), "Hello.")
            assert not finished.interrupted
            assert 0.2 < finished.playback_position < 2
            with pytest.raises(SpeechRefused):
                await client.start(1)
            name = await client.start(RATE_HZ)
            sending = asyncio.create_task(client.send(loud(15.0)))
            assert (await client.started()).utterance_id == name
            cleared = await client.clear()
            with pytest.raises(Interrupted):
                await sending
            finished = await client.finished(name)
            assert finished.interrupted
            assert finished.playback_position == cleared.playback_position < 15

    asyncio.run(scenario())


def test_what_is_streamed_in_is_captioned_for_everybody_who_watches(audio: str, session: str):
    async def scenario() -> None:
        async with SpeechClient(audio) as client:
            assert not (await client.say(EspeakTTS(), "Hello.")).interrupted

    with connect(f"{session.replace('http', 'ws')}/events") as events:
        asyncio.run(scenario())
        told = until(events, "caption")
        assert (told["words"], told["num_heard"]) == (["Hello."], 1)
        assert until(events, "caption_end")["utterance"] == told["utterance"]


def test_typed_text_goes_through_the_configured_vendor(session: str, vendor: ElevenLabsMock):
    """Twenty characters are two seconds of the vendor's sound, not what the embedded voice would take."""
    response = httpx.post(f"{session}/say", json={"text": "x" * 20}, timeout=20).raise_for_status()
    assert response.json()["duration_s"] > 1
    assert vendor.keys[-1] == "the-key"
    with connect(f"{session.replace('http', 'ws')}/events") as events:
        spoken = next(event for event in replies(events) if event["stats"]["speech_left_s"] > 0.5)
        assert spoken["stats"]["hearing"] == "text"
        httpx.post(f"{session}/clear").raise_for_status()
        silent = next(event for event in replies(events) if event["stats"]["hearing"] == "silence")
        assert silent["stats"]["epoch"] == 1


def test_a_vendor_that_refuses_is_told_to_who_typed(session: str):
    response = httpx.post(f"{session}/say", json={"text": "please refuse"}, timeout=20)
    assert response.status_code == 502
    assert response.json()["error"] == {
        "code": "speech_service",
        "message": "elevenlabs could not speak: no credit left",
    }
