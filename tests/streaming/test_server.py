"""The HTTP interface with a real worker process behind it, over a real socket, in another thread."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from typing import Any

import httpx
import numpy as np
import pytest
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from PIL import Image
from websockets.sync.client import connect

MAX_SESSIONS = 2

Serve = Callable[..., AbstractContextManager[str]]


@pytest.fixture(scope="module")
def base(serve_tiny: Serve) -> Generator[str]:
    """Address of a running server."""
    with serve_tiny(max_sessions=MAX_SESSIONS) as address:
        yield address


def error_of(response: httpx.Response) -> tuple[int, str]:
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message"}
    assert "Traceback" not in response.text
    return response.status_code, body["error"]["code"]


def png(width: int, height: int) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.full((height, width, 3), 90, np.uint8)).save(content, "PNG")
    return content.getvalue()


def test_the_page_and_its_parts_come_with_a_strict_policy(client: httpx.Client):
    """Everything the page needs is on this server, and nothing else may be loaded or run."""
    page = client.get("/").raise_for_status()
    assert "The built-in pocket avatar animates drawn faces only." in page.text
    assert page.headers["content-security-policy"].startswith("default-src 'self'")
    for part in ("/page/style.css", "/page/app.js", "/page/icon.svg"):
        assert f'"{part}"' in page.text
        assert client.get(part).status_code == 200


def test_health(client: httpx.Client):
    assert client.get("/live").json() == {"live": True}
    assert client.get("/ready").json() == {
        "ready": True,
        "model": "tiny",
        "fps": 25,
        "width": 64,
        "height": 64,
        "precision": "float32",
    }


def test_portraits_are_listed_with_text_and_mouth(client: httpx.Client):
    (ada,) = client.get("/api/portraits").json()
    assert (ada["name"], ada["alt"], ada["mouth_box"]) == ("ada", "Grey rows", [60, 20, 80, 60])
    picture = client.get(ada["url"])
    assert picture.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(picture.content)).size == (80, 96)


def test_an_uploaded_picture_can_be_used_and_is_not_listed(client: httpx.Client):
    response = client.put("/api/portraits", content=png(200, 100), headers={"Content-Type": "image/png"})
    assert response.status_code == 201
    assert client.get(response.json()["url"]).status_code == 200
    assert [portrait["name"] for portrait in client.get("/api/portraits").json()] == ["ada"]


@pytest.mark.parametrize(
    ("content", "kind", "expected"),
    [
        (b"", "image/png", (422, "bad_portrait")),
        (b"<svg/>", "image/svg+xml", (422, "bad_portrait")),
        (png(300, 300)[:400], "image/png", (422, "bad_portrait")),
        (png(20, 20), "image/png", (422, "bad_portrait")),
        (png(100, 100), "multipart/form-data", (415, "unsupported_image")),
        (bytes(10_000_001), "image/png", (413, "too_large")),
    ],
    ids=["empty", "svg", "cut", "small", "multipart", "huge"],
)
def test_bad_pictures_are_refused_with_a_code(
    client: httpx.Client, content: bytes, kind: str, expected: tuple[int, str]
):
    assert error_of(client.put("/api/portraits", content=content, headers={"Content-Type": kind})) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{", (400, "bad_request")),
        (b"[]", (400, "bad_request")),
        (b'{"portrait": 1}', (400, "bad_request")),
        (b'{"portrait": "ada", "more": 1}', (400, "bad_request")),
        (b'{"portrait": "nobody"}', (404, "not_found")),
        (b'{"portrait": "../../etc/passwd"}', (404, "not_found")),
        (b" " * 300_000, (413, "too_large")),
    ],
    ids=["no json", "no object", "type", "unknown key", "unknown name", "path", "huge"],
)
def test_bad_requests_are_refused_with_a_code(client: httpx.Client, body: bytes, expected: tuple[int, str]):
    response = client.post("/api/sessions", content=body, headers={"Content-Type": "application/json"})
    assert error_of(response) == expected


@pytest.mark.parametrize("body", [b"{", b"", b"[]", b"3"])
def test_a_body_that_is_no_object_is_told_to_be_one(client: httpx.Client, body: bytes):
    for headers in ({"Content-Type": "application/json"}, {"Content-Type": "text/plain"}):
        response = client.post("/api/sessions", content=body, headers=headers)
        assert error_of(response) == (400, "bad_request")
        assert response.json()["error"]["message"].startswith("the body is ")


def test_requests_from_other_sites_are_refused(client: httpx.Client):
    response = client.post("/api/sessions", json={"portrait": "ada"}, headers={"Origin": "https://evil.example"})
    assert error_of(response) == (403, "foreign_origin")


def test_unknown_paths_and_sessions(client: httpx.Client):
    nothing = client.get("/nothing")
    assert error_of(nothing) == (404, "not_found")
    assert nothing.json()["error"]["message"] == "there is nothing at /nothing; the page is at /"
    taken = client.get("/v1/whep")
    assert error_of(taken) == (405, "method_not_allowed")
    assert taken.json()["error"]["message"] == "/v1/whep does not take GET"
    assert error_of(client.get("/page/../server.py")) == (404, "not_found")
    assert error_of(client.post("/api/sessions/nobody/say", json={"text": "hello"})) == (404, "not_found")
    assert error_of(client.delete("/api/sessions/nobody")) == (404, "not_found")


def test_no_place_left_is_503_with_a_time_to_come_back(client: httpx.Client, session: str, end: Callable[[str], None]):
    assert session
    others: list[str] = []
    while (response := client.post("/api/sessions", json={"portrait": "ada"})).status_code == 201:
        others.append(response.json()["id"])
    assert error_of(response) == (503, "unavailable")
    assert int(response.headers["retry-after"]) > 0
    assert len(others) == MAX_SESSIONS - 1
    for other in others:
        assert client.delete(f"/api/sessions/{other}").status_code == 204
        end(other)


@pytest.mark.parametrize("text", ["", "   "])
def test_text_that_cannot_be_spoken(client: httpx.Client, session: str, text: str):
    assert error_of(client.post(f"/api/sessions/{session}/say", json={"text": text})) == (422, "bad_text")


def test_a_bad_offer_ends_the_session(client: httpx.Client, session: str):
    response = client.post(f"/api/sessions/{session}/offer", json={"type": "offer", "sdp": "v=0\r\n"})
    assert error_of(response) == (400, "bad_sdp")


def test_events_of_an_unknown_session_say_so_and_close(base: str):
    with connect(f"{base.replace('http', 'ws')}/api/sessions/nobody/events") as websocket:
        assert json.loads(websocket.recv(5))["error"]["code"] == "not_found"
        with pytest.raises(Exception, match="1008"):
            websocket.recv(5)


def test_whatever_a_listener_sends_is_read_and_ignored(base: str, session: str):
    """Text or bytes: the events go on."""
    with connect(f"{base.replace('http', 'ws')}/api/sessions/{session}/events") as websocket:
        for message in ("nonsense", b"\0\1", "more"):
            websocket.send(message)
        for _ in range(3):
            assert json.loads(websocket.recv(5))["type"] == "status"


async def watch(client: httpx.Client, session: str, duration_s: float) -> dict[str, list[Any]]:
    """Connects as a viewer; what came on each track: loudness of packets, width of frames."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    received: dict[str, list[Any]] = {"audio": [], "video": []}

    async def read(track: MediaStreamTrack) -> None:
        while True:
            try:
                frame: Any = await track.recv()
            except MediaStreamError:
                return
            received[track.kind].append(frame.width if track.kind == "video" else np.abs(frame.to_ndarray()).max())

    readers: list[asyncio.Task[None]] = []
    peer.on("track", lambda track: readers.append(asyncio.create_task(read(track))))
    for kind in received:
        peer.addTransceiver(kind, direction="recvonly")
    await peer.setLocalDescription(await peer.createOffer())
    body = {"type": "offer", "sdp": peer.localDescription.sdp}
    answer = await asyncio.to_thread(client.post, f"/api/sessions/{session}/offer", json=body)
    await peer.setRemoteDescription(RTCSessionDescription(**answer.raise_for_status().json()))
    again = await asyncio.to_thread(client.post, f"/api/sessions/{session}/offer", json=body)
    assert error_of(again) == (409, "already_answered")
    said = await asyncio.to_thread(client.post, f"/api/sessions/{session}/say", json={"text": "Hello there."})
    assert said.status_code == 202
    assert said.json()["duration_s"] > 0.3
    await asyncio.sleep(duration_s)
    await peer.close()
    await asyncio.gather(*readers)
    return received


def test_a_viewer_sees_and_hears_and_is_told(base: str, client: httpx.Client, session: str):
    """Offer and answer connect; video comes at 25 frames a second, typed text is heard, events tell the state."""
    with connect(f"{base.replace('http', 'ws')}/api/sessions/{session}/events") as websocket:
        received = asyncio.run(watch(client, session, 4.0))
        client.delete(f"/api/sessions/{session}")
        events = [json.loads(message) for message in websocket]
    assert set(received["video"]) == {64}
    assert 60 < len(received["video"]) < 140
    assert sum(loud > 1000 for loud in received["audio"]) > 10
    states = [event["state"] for event in events if event["type"] == "status"]
    assert "live" in states
    assert states[-1] == "ended"
    assert events[-1]["reason"]["code"] == "stopped"
    assert events[-1]["stats"]["live"] > 20
    assert events[-1]["stats"]["real_time_factor"] > 0


def test_events_bring_captions_as_the_words_are_heard(base: str, client: httpx.Client, session: str):
    """A line with its first word, then with the next, then the end; between them the state, once a second."""
    with connect(f"{base.replace('http', 'ws')}/api/sessions/{session}/events") as websocket:
        assert json.loads(websocket.recv(5))["type"] == "status"
        client.post(f"/api/sessions/{session}/say", json={"text": "Hello there."}).raise_for_status()
        captions: list[dict[str, Any]] = []
        while not captions or captions[-1]["type"] != "caption_end":
            event = json.loads(websocket.recv(10))
            if event["type"] != "status":
                captions.append(event)
    assert [event["type"] for event in captions] == ["caption", "caption", "caption_end"]
    assert [(event["words"], event["num_heard"]) for event in captions[:2]] == [
        (["Hello", "there."], 1),
        (["Hello", "there."], 2),
    ]
    assert not captions[-1]["interrupted"]
