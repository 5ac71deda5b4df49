"""Strangers' datagrams, sent to real connections; each fault is shown without the guard first."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import struct

import aioice.ice
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from avacast.streaming import ice_guard
from avacast.streaming.broadcast import VideoBroadcast
from avacast.streaming.peer import Peer
from avacast.streaming.tracks import VideoTrack
from avacast.streaming.webrtc_config import WebRTCConfig

ALERT = bytes([21]) + struct.pack("!HHIHH", 0xFEFD, 0, 0, 1, 2) + bytes([2, 40])
"""A plaintext DTLS record: a fatal alert, handshake failure."""
JUNK = bytes([22]) + struct.pack("!HHIHH", 0xFEFD, 0, 0, 2, 20) + bytes(20)
MALFORMED_STUN = struct.pack("!HHI", 1, 48, 0x2112A442) + bytes(12) + struct.pack("!HH", 0x24, 1) + bytes(44)


@pytest.fixture(params=["guarded", "as released"])
def guarded(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether connections are opened with the guard."""
    released = ice_guard.GuardedProtocol.__mro__[1]
    monkeypatch.setattr(aioice.ice, "StunProtocol", released)
    if request.param == "as released":
        monkeypatch.setattr(ice_guard, "install", lambda: None)
    return request.param == "guarded"


async def meet(packets: list[bytes]) -> str:
    """Connects a viewer while a stranger sends `packets` to the server's socket: the state that comes of it."""
    track = VideoTrack(25)
    broadcast = VideoBroadcast(track, 25, 500_000)
    peer = Peer(WebRTCConfig(), None, broadcast.viewer(), None)
    viewer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    viewer.addTransceiver("video", direction="recvonly")
    await viewer.setLocalDescription(await viewer.createOffer())
    answer = await peer.answer(viewer.localDescription.sdp)
    addresses = re.findall(r"a=candidate:\S+ 1 udp \d+ ([\d.]+) (\d+) typ host", answer)
    assert addresses
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for host, port in addresses:
            for packet in packets:
                stranger.sendto(packet, (host, int(port)))
    await asyncio.sleep(0.1)
    await viewer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    async with asyncio.timeout(5):
        while not (peer.connected or peer.gone):  # noqa: ASYNC110  # as the watch sees it: by looking
            await asyncio.sleep(0.02)
    state = peer._connection.connectionState
    await viewer.close()
    await peer.close()
    await broadcast.aclose()
    return state


@pytest.mark.parametrize("packet", [ALERT, JUNK], ids=["alert", "junk"])
def test_a_strangers_packet_does_not_end_a_connection_that_is_being_set_up(guarded: bool, packet: bytes):
    """As released, one datagram from anywhere is enough (OWASP ASVS 5.0, 17.2.6)."""
    assert asyncio.run(meet([packet])) == ("connected" if guarded else "failed")


def test_malformed_stun_is_a_line_a_second_and_not_a_traceback_each(guarded: bool, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        assert asyncio.run(meet([MALFORMED_STUN] * 100)) == "connected"
    assert (len(caplog.text) < 1000) == guarded
    assert ("Traceback" in caplog.text) != guarded
