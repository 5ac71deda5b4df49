"""WHEP and WHIP over HTTP, with a real worker process behind them and real WebRTC clients in front."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from fractions import Fraction
from typing import Any, cast

import aioice
import av
import httpx
import numpy as np
import pytest
from aioice import stun
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from websockets.sync.client import connect

from avacast.streaming.ice_link import IceLink
from avacast.streaming.ice_servers import ice_servers
from avacast.streaming.origins import Origins
from avacast.streaming.sdp_fragment import format_fragment, parse_fragment
from avacast.streaming.webrtc_config import WebRTCConfig

SDP = {"Content-Type": "application/sdp"}
FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}
FRIEND = "https://player.example"
MAX_SESSIONS = 2

Serve = Callable[..., AbstractContextManager[str]]


class StunServer(asyncio.DatagramProtocol):
    """Tells everybody the address that he is seen at."""

    transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        request = stun.parse_message(data)
        answer = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, request.transaction_id)
        answer.attributes["XOR-MAPPED-ADDRESS"] = addr
        self.transport.sendto(bytes(answer), addr)


@pytest.fixture(scope="module")
def stun_port() -> Generator[int]:
    """Port of a running STUN server."""
    loop = asyncio.new_event_loop()
    opening = loop.create_datagram_endpoint(StunServer, local_addr=("127.0.0.1", 0))
    transport, _ = loop.run_until_complete(opening)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield transport.get_extra_info("sockname")[1]
    loop.call_soon_threadsafe(transport.close)
    loop.call_soon_threadsafe(loop.call_later, 0.1, loop.stop)
    thread.join(5)
    loop.close()


@pytest.fixture(scope="module")
def base(serve_tiny: Serve, stun_port: int) -> Generator[str]:
    """Address of a running server."""
    webrtc = WebRTCConfig(ice_servers=ice_servers([f"stun:127.0.0.1:{stun_port}"]))
    with serve_tiny(max_sessions=MAX_SESSIONS, webrtc=webrtc, origins=Origins([FRIEND])) as address:
        yield address


def num_places(client: httpx.Client) -> int:
    """How many sessions can be opened now; they are ended again."""
    opened: list[str] = []
    while (response := client.post("/api/sessions", json={"portrait": "ada"})).status_code == 201:
        opened.append(response.json()["id"])
    for name in opened:
        while client.delete(f"/api/sessions/{name}").status_code != 404:
            pass
    return len(opened)


class WHEPViewer:
    """A player that knows the protocol and nothing else."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.location = self.etag = ""
        self.tracks = [self.peer.addTransceiver(kind, direction="recvonly") for kind in ("audio", "video")]

    async def offer(self) -> str:
        await self.peer.setLocalDescription(await self.peer.createOffer())
        return self.peer.localDescription.sdp

    async def watch(self, url: str) -> httpx.Response:
        response = await asyncio.to_thread(self.client.post, url, content=await self.offer(), headers=SDP)
        assert response.status_code == 201, response.text
        self.location, self.etag = response.headers["location"], response.headers["etag"]
        await self.peer.setRemoteDescription(RTCSessionDescription(response.text, "answer"))
        return response

    async def frames(self, num: int) -> list[Any]:
        """The next pictures."""
        async with asyncio.timeout(20):
            return [await self.tracks[1].receiver.track.recv() for _ in range(num)]

    async def leave(self) -> int:
        response = await asyncio.to_thread(self.client.delete, self.location)
        await self.peer.close()
        return response.status_code


def error_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def test_three_viewers_watch_one_session_and_one_leaves(client: httpx.Client, session: str):
    """Each gets pictures; the one who leaves is gone for good, and the others go on."""

    async def scenario() -> None:
        viewers = [WHEPViewer(client) for _ in range(3)]
        for viewer in viewers:
            response = await viewer.watch(f"/v1/sessions/{session}/whep")
            assert response.headers["content-type"] == "application/sdp"
            assert response.headers["accept-patch"] == "application/trickle-ice-sdpfrag"
        for viewer in viewers:
            assert {(frame.width, frame.height) for frame in await viewer.frames(10)} == {(64, 64)}
        assert len({viewer.location for viewer in viewers}) == 3
        assert await viewers[0].leave() == 200
        assert error_of(await asyncio.to_thread(client.delete, viewers[0].location)) == (404, "not_found")
        for viewer in viewers[1:]:
            await viewer.frames(25)
            assert await viewer.leave() == 200

    asyncio.run(scenario())


def test_one_url_opens_a_session_and_watching_ends_it(client: httpx.Client):
    """For a player that has a URL and nothing else."""

    async def scenario() -> None:
        viewer = WHEPViewer(client)
        await viewer.watch("/v1/whep?portrait=ada")
        await viewer.frames(10)
        assert await viewer.leave() == 200

    asyncio.run(scenario())
    deadline = time.monotonic() + 5
    while num_places(client) < MAX_SESSIONS:
        assert time.monotonic() < deadline, "the place is still taken"
        time.sleep(0.2)


def test_a_portrait_that_is_not_there(client: httpx.Client):
    response = client.post("/v1/whep?portrait=nobody", content="v=0", headers=SDP)
    assert error_of(response) == (404, "not_found")
    assert error_of(client.post("/v1/whep", content="v=0", headers=SDP)) == (400, "bad_request")


def test_ice_servers_are_told_in_all_three_places(client: httpx.Client, session: str, stun_port: int):
    """To the page, in the Link header, and to our own stack, which offers the address that the server saw."""
    url = f"stun:127.0.0.1:{stun_port}"
    assert client.get("/v1/ice-servers").json() == [{"urls": [url]}]

    async def scenario() -> None:
        viewer = WHEPViewer(client)
        response = await viewer.watch(f"/v1/sessions/{session}/whep")
        assert response.headers["link"] == f'<{url}>; rel="ice-server"'
        assert "typ srflx" in response.text
        await viewer.leave()

    asyncio.run(scenario())


def test_what_may_be_sent_is_told_to_who_asks(client: httpx.Client, session: str):
    response = client.options(f"/v1/sessions/{session}/whep")
    assert (response.status_code, response.headers["accept-post"]) == (204, "application/sdp")
    assert client.options("/v1/whep").headers["accept-post"] == "application/sdp"
    assert client.options(f"/v1/sessions/{session}/whip/x").headers["accept-patch"] == FRAGMENT["Content-Type"]


def test_a_player_on_a_site_that_the_owner_named_may_connect_and_no_other(client: httpx.Client, session: str):
    """The browser asks first; the answers carry the headers that let the player read Location and ETag."""
    ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    response = client.options(f"/v1/sessions/{session}/whep", headers={"Origin": FRIEND, **ask})
    assert response.headers["access-control-allow-origin"] == FRIEND
    assert "content-type" in response.headers["access-control-allow-headers"].lower()
    refused = client.post(f"/v1/sessions/{session}/whep", content="v=0", headers={"Origin": FRIEND, **SDP})
    assert error_of(refused) == (400, "bad_sdp")
    assert "Location" in refused.headers["access-control-expose-headers"]
    stranger = client.options(f"/v1/sessions/{session}/whep", headers={"Origin": "https://evil.example", **ask})
    assert error_of(stranger) == (403, "foreign_origin")
    assert "access-control-allow-origin" not in stranger.headers


@pytest.mark.parametrize(
    ("content", "kind", "expected"),
    [
        (b"v=0", "text/plain", (415, "unsupported_media_type")),
        (b"v=0", "application/sdp; charset=utf-8", (400, "bad_sdp")),
        (b"v=0", "Application/SDP", (400, "bad_sdp")),
        (b"\xff\xfe", "application/sdp", (400, "bad_sdp")),
        (b"x" * 70_000, "application/sdp", (413, "too_large")),
    ],
    ids=["type", "parameter", "case", "no text", "huge"],
)
@pytest.mark.parametrize("protocol", ["whep", "whip"])
def test_bad_offers_have_a_code_and_the_session_lives_on(
    client: httpx.Client, session: str, protocol: str, content: bytes, kind: str, expected: tuple[int, str]
):
    response = client.post(f"/v1/sessions/{session}/{protocol}", content=content, headers={"Content-Type": kind})
    assert error_of(response) == expected
    assert client.options(f"/v1/sessions/{session}/{protocol}").status_code == 204
    assert client.post(f"/api/sessions/{session}/clear").status_code == 200


def test_an_unknown_protocol_session_or_guest(client: httpx.Client, session: str):
    assert client.post(f"/v1/sessions/{session}/rtmp", content="v=0", headers=SDP).status_code == 400
    assert error_of(client.post("/v1/sessions/nobody/whep", content="v=0", headers=SDP)) == (404, "not_found")
    assert error_of(client.delete(f"/v1/sessions/{session}/whep/nobody")) == (404, "not_found")


def test_candidates_need_the_tag_of_their_generation(client: httpx.Client, session: str):
    """RFC 9725, 4.3.1: 204 with it, 428 without any, 412 with a stale one or for credentials of another generation."""

    async def scenario() -> None:
        viewer = WHEPViewer(client)
        await viewer.watch(f"/v1/sessions/{session}/whep")
        (ufrag,) = set(re.findall(r"a=ice-ufrag:(\S+)", viewer.peer.localDescription.sdp))
        (pwd,) = set(re.findall(r"a=ice-pwd:(\S+)", viewer.peer.localDescription.sdp))
        body = format_fragment(ufrag, pwd, "audio", "0", ["candidate:1 1 udp 1 198.51.100.9 50000 typ host"])

        def patch(content: str, **headers: str) -> httpx.Response:
            return client.patch(viewer.location, content=content, headers=FRAGMENT | headers)

        assert patch(body, **{"If-Match": viewer.etag}).status_code == 204
        assert patch(body, **{"If-Match": "*"}).status_code == 204
        assert error_of(patch(body)) == (428, "precondition_required")
        assert error_of(patch(body, **{"If-Match": '"99"'})) == (412, "precondition_failed")
        other = format_fragment("otherone", pwd, "audio", "0", [])
        assert error_of(patch(other, **{"If-Match": viewer.etag})) == (412, "precondition_failed")
        assert error_of(patch("nonsense", **{"If-Match": viewer.etag})) == (400, "bad_sdp_fragment")
        mistyped = SDP | {"If-Match": viewer.etag}
        wrong = await asyncio.to_thread(client.patch, viewer.location, content=body, headers=mistyped)
        assert error_of(wrong) == (415, "unsupported_media_type")
        elsewhere = viewer.location.replace("/whep/", "/whip/")
        assert error_of(await asyncio.to_thread(client.delete, elsewhere)) == (404, "not_found")
        await viewer.leave()

    asyncio.run(scenario())


def test_ice_restarts_without_a_gap_in_the_picture(client: httpx.Client, session: str):
    """New credentials with If-Match: * give ours and a new tag; media moves over to the new connection and goes on."""

    async def scenario() -> None:
        viewer = WHEPViewer(client)
        await viewer.watch(f"/v1/sessions/{session}/whep")
        await viewer.frames(10)
        link = IceLink(viewer.tracks[0].receiver.transport.transport, [])
        new = aioice.Connection(ice_controlling=True)
        await new.gather_candidates()
        body = format_fragment(new.local_username, new.local_password, "audio", "0", [])
        headers = FRAGMENT | {"If-Match": "*"}
        response = await asyncio.to_thread(client.patch, viewer.location, content=body, headers=headers)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"] == FRAGMENT["Content-Type"]
        assert response.headers["etag"] != viewer.etag
        ours = parse_fragment(response.text)
        assert ours.ufrag
        old_ports = set(re.findall(r"udp \d+ \S+ (\d+) typ host", viewer.peer.remoteDescription.sdp))
        assert not any(f" {port} typ host" in response.text for port in old_ports)
        new.remote_username, new.remote_password = ours.ufrag, ours.pwd
        for candidate in ours.candidates:
            await new.add_remote_candidate(aioice.Candidate.from_sdp(candidate.removeprefix("candidate:")))
        await link._move_to(new)
        headers = FRAGMENT | {"If-Match": viewer.etag}
        stale = await asyncio.to_thread(client.patch, viewer.location, content=body, headers=headers)
        assert error_of(stale) == (412, "precondition_failed")
        await asyncio.sleep(0.5)
        await viewer.frames(50)  # two seconds, far more than any queue on the way holds
        assert viewer.peer.connectionState == "connected"
        assert await viewer.leave() == 200

    asyncio.run(scenario())


def test_sound_that_is_fed_is_heard_by_the_avatar(base: str, client: httpx.Client, session: str):
    """WHIP: the events say that the avatar hears the microphone; and again silence when the feeder has left."""

    async def feed(location: list[str]) -> None:
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        peer.addTransceiver(Tone(), direction="sendonly")
        peer.addTransceiver("video", direction="sendonly")
        await peer.setLocalDescription(await peer.createOffer())
        url = f"/v1/sessions/{session}/whip"
        response = await asyncio.to_thread(client.post, url, content=peer.localDescription.sdp, headers=SDP)
        assert response.status_code == 201, response.text
        assert "a=inactive" in response.text.split("m=video")[1]
        location.append(response.headers["location"])
        await peer.setRemoteDescription(RTCSessionDescription(response.text, "answer"))
        await asyncio.sleep(4)
        assert (await asyncio.to_thread(client.delete, location[0])).status_code == 200
        await peer.close()

    with connect(f"{base.replace('http', 'ws')}/api/sessions/{session}/events") as websocket:
        asyncio.run(feed([]))
        hearing: list[str] = []
        deadline = time.monotonic() + 4
        while (time.monotonic() < deadline and hearing[-1:] != ["silence"]) or "microphone" not in hearing:
            event = json.loads(websocket.recv(3))
            hearing += [event["stats"]["hearing"]] if event["type"] == "status" else []
    assert "microphone" in hearing


class Tone(MediaStreamTrack):
    """440 Hz in real time."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.started_s = time.monotonic()

    async def recv(self) -> av.AudioFrame:
        await asyncio.sleep(max(0, self.started_s + 0.02 * self.number - time.monotonic()))
        wave = np.sin(2 * np.pi * 440 / 48_000 * (np.arange(960) + 960 * self.number))
        frame = av.AudioFrame.from_ndarray((8000 * wave).astype(np.int16)[None], "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, 960 * self.number, Fraction(1, 48_000)
        self.number += 1
        return frame
