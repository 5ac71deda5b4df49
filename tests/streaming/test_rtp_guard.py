"""What a connected viewer can make the server do; each fault is shown without the guard first."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncGenerator
from fractions import Fraction

import av
import numpy as np
import pytest
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.rtp import RTCP_PSFB_PLI, RTCP_RTPFB_NACK, RtcpPsfbPacket, RtcpRtpfbPacket

from avacast.streaming import peer as peer_module
from avacast.streaming.broadcast import VideoBroadcast
from avacast.streaming.peer import Peer
from avacast.streaming.rtp_guard import MAX_SSRCS, DropOldestQueue, DropOldestThreadQueue
from avacast.streaming.tracks import VideoTrack
from avacast.streaming.webrtc_config import WebRTCConfig


class Shifty(MediaStreamTrack):
    """Silence as fast as it goes, each packet from a sender of another name."""

    kind = "audio"
    sender: RTCRtpSender

    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    async def recv(self) -> av.AudioFrame:
        await asyncio.sleep(0.002)
        self.sender._ssrc = random.getrandbits(32)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.int16), "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, 960 * self.number, Fraction(1, 48_000)
        self.number += 1
        return frame


@contextlib.asynccontextmanager
async def connected(viewer: RTCPeerConnection) -> AsyncGenerator[tuple[Peer, VideoTrack]]:
    """A peer that is connected to the viewer, and the track that it shows. The peer is the test's to close."""
    track = VideoTrack(25)
    broadcast = VideoBroadcast(track, 25, 500_000)
    peer = Peer(WebRTCConfig(), None, broadcast.viewer(), lambda _samples, _pts: None)
    viewer.addTransceiver("video", direction="recvonly")
    await viewer.setLocalDescription(await viewer.createOffer())
    answer = await peer.answer(viewer.localDescription.sdp)
    await viewer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    async with asyncio.timeout(10):
        while not peer.connected:  # noqa: ASYNC110  # as the watch sees it: by looking
            await asyncio.sleep(0.02)
    yield peer, track
    await viewer.close()
    await broadcast.aclose()


def video_sender(peer: Peer) -> RTCRtpSender:
    return next(sender for sender in peer._connection.getSenders() if sender.kind == "video")


async def num_sent(sender: RTCRtpSender) -> int:
    """Packets that left on the sender's transport."""
    report = await sender.getStats()
    return next(stats.packetsSent for stats in report.values() if stats.type == "transport")


def test_a_report_of_one_loss_five_thousand_times_over_is_answered_once():
    """As released, it is answered five thousand times."""

    async def scenario() -> None:
        async with connected(RTCPeerConnection(RTCConfiguration(iceServers=[]))) as (peer, track):
            sender = video_sender(peer)
            for number in range(3):
                track.put(number, np.full((64, 64, 3), 60 * number, np.uint8))
                await asyncio.sleep(0.05)
            newest = max(sender._RTCRtpSender__rtp_history)  # type: ignore[attr-defined]
            sequence_number = sender._RTCRtpSender__rtp_history[newest].sequence_number  # type: ignore[attr-defined]
            report = RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=sender._ssrc)
            before = await num_sent(sender)
            report.lost = [sequence_number] * 5000
            await sender._handle_rtcp_packet(report)
            guarded = await num_sent(sender) - before
            report.lost = [sequence_number] * 5000
            await RTCRtpSender._handle_rtcp_packet(sender, report)
            released = await num_sent(sender) - before - guarded
            assert 1 <= guarded < 10
            assert released >= 5000
            await peer.close()

    asyncio.run(scenario())


def test_a_wish_for_a_keyframe_reaches_the_encoder():
    async def scenario() -> None:
        async with connected(RTCPeerConnection(RTCConfiguration(iceServers=[]))) as (peer, track):
            sender = video_sender(peer)
            track.put(0, np.zeros((64, 64, 3), np.uint8))
            await asyncio.sleep(0.1)
            video = peer._video
            assert video
            (stream,) = video._broadcast._streams.values()
            assert not stream.keyframe_wanted
            await sender._handle_rtcp_packet(RtcpPsfbPacket(fmt=RTCP_PSFB_PLI, ssrc=1, media_ssrc=sender._ssrc))
            assert stream.keyframe_wanted
            await peer.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("guarded", [True, False], ids=["guarded", "as released"])
def test_a_viewer_who_keeps_changing_his_name_cannot_make_closing_hang(guarded: bool, monkeypatch: pytest.MonkeyPatch):
    """As released, closing never returns; then the forced tear-down ends it, decoder thread and all."""
    if not guarded:
        monkeypatch.setattr(peer_module, "guard_receiver", lambda _receiver: None)
        monkeypatch.setattr(peer_module, "MAX_CLOSE_S", 1.0)

    async def scenario() -> None:
        viewer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        track = Shifty()
        track.sender = viewer.addTrack(track)
        async with connected(viewer) as (peer, _):
            await asyncio.sleep(2)  # 200 names at least, and a report on them is due twice
            assert track.number > 200
            (transport,) = {receiver.transport for receiver in peer._connection.getReceivers()}
            assert (len(transport._rtp_router.ssrc_table) <= MAX_SSRCS) == guarded
            started = time.monotonic()
            await peer.close()
            assert (time.monotonic() - started < 1) == guarded

    asyncio.run(scenario())


def test_received_media_never_piles_up():
    """Both queues keep the newest, and their writer never waits."""

    async def scenario() -> None:
        queue = DropOldestQueue(3)
        for number in range(5):
            await queue.put(number)
        assert [queue.get_nowait() for _ in range(3)] == [2, 3, 4]

    asyncio.run(scenario())
    threaded = DropOldestThreadQueue(3)
    for number in range(5):
        threaded.put(number)
    assert [threaded.get_nowait() for _ in range(3)] == [2, 3, 4]


def test_the_end_of_a_decoder_does_not_wait_for_what_is_left():
    """The event loop joins the decoder's thread, so a backlog would stop every session."""
    threaded = DropOldestThreadQueue(3)
    for number in range(3):
        threaded.put(number)
    threaded.put(None)
    assert threaded.get_nowait() is None
