"""One connection, with a real WebRTC peer on the other side."""

from __future__ import annotations

import asyncio
import time
from fractions import Fraction

import av
import numpy as np
import pytest
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from avacast.streaming.http_errors import RequestError
from avacast.streaming.microphone import Microphone
from avacast.streaming.peer import DropOldestQueue, DropOldestThreadQueue, Peer
from avacast.streaming.tracks import AudioTrack, VideoTrack


class Speaker(MediaStreamTrack):
    """A viewer's microphone: a steady 440 Hz tone in real time."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.started_s = time.monotonic()

    async def recv(self) -> av.AudioFrame:
        await asyncio.sleep(max(0, self.started_s + 0.02 * self.number - time.monotonic()))
        phase = 2 * np.pi * 440 / 48_000 * (np.arange(960) + 960 * self.number)
        frame = av.AudioFrame.from_ndarray((8000 * np.sin(phase)).astype(np.int16)[None], "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, 960 * self.number, Fraction(1, 48_000)
        self.number += 1
        return frame


async def connect(peer: Peer, viewer: RTCPeerConnection) -> str:
    """Offer and answer; returns the answer."""
    viewer.addTransceiver("video", direction="recvonly")
    await viewer.setLocalDescription(await viewer.createOffer())
    sdp = await peer.answer(viewer.localDescription.sdp)
    await viewer.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
    async with asyncio.timeout(10):
        while not peer.connected:  # noqa: ASYNC110  # as the watch sees it: by looking
            await asyncio.sleep(0.02)
    return sdp


def test_the_viewers_voice_reaches_the_microphone_and_vp8_is_answered():
    async def scenario() -> None:
        microphone = Microphone()
        peer = Peer(AudioTrack(), VideoTrack(25), microphone)
        viewer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        viewer.addTrack(Speaker())
        answer = await connect(peer, viewer)
        assert answer.index("VP8/90000") < answer.index("H264/90000")
        await asyncio.sleep(1)
        heard = microphone.pull(2400)
        assert heard is not None
        spectrum = np.abs(np.fft.rfft(heard))
        assert np.argmax(spectrum) * 48_000 / 2400 == pytest.approx(440, abs=20)
        assert await peer.silence_s() < 1
        await viewer.close()
        await peer.close()
        assert peer.gone

    asyncio.run(scenario())


def test_a_viewer_who_vanishes_is_silent():
    """Without a goodbye the connection still counts as connected; silence tells."""

    async def scenario() -> None:
        peer = Peer(AudioTrack(), VideoTrack(25), Microphone())
        viewer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        viewer.addTrack(Speaker())
        await connect(peer, viewer)
        await peer.silence_s()
        (transport,) = {sender.transport.transport for sender in viewer.getSenders()}
        await transport._connection.close()  # the network is gone: nothing is sent any more, and no goodbye
        await asyncio.sleep(0.5)
        await peer.silence_s()
        await asyncio.sleep(1)
        assert await peer.silence_s() >= 1
        assert not peer.gone
        await peer.close()
        await viewer.close()

    asyncio.run(scenario())


def test_an_offer_that_the_stack_chokes_on_is_a_bad_sdp():
    """Well-formed as far as our own check goes, nonsense inside: refused with a code, and closing still works."""

    async def scenario() -> None:
        viewer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        viewer.addTransceiver("audio", direction="recvonly")
        await viewer.setLocalDescription(await viewer.createOffer())
        sdp = viewer.localDescription.sdp.replace("a=rtpmap:96 opus/48000/2", "a=rtpmap:x").replace("a=mid:0", "a=mid")
        peer = Peer(AudioTrack(), VideoTrack(25), Microphone())
        with pytest.raises(RequestError) as refused:
            await peer.answer(sdp)
        assert refused.value.code == "bad_sdp"
        await peer.close()
        await viewer.close()

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
