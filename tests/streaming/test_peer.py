"""One connection, with a real WebRTC peer on the other side."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

import av
import numpy as np
import pytest
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from avacast.streaming.broadcast import AudioBroadcast, VideoBroadcast
from avacast.streaming.http_errors import RequestError
from avacast.streaming.microphone import Microphone
from avacast.streaming.peer import Peer
from avacast.streaming.tracks import AudioTrack, VideoTrack
from avacast.streaming.webrtc_config import WebRTCConfig


class Voice(MediaStreamTrack):
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


@dataclass
class Stage:
    """What a peer sends, shown at 25 pictures a second, and what it hears."""

    audio: AudioTrack = field(default_factory=AudioTrack)
    video: VideoTrack = field(default_factory=lambda: VideoTrack(25))
    microphone: Microphone = field(default_factory=Microphone)

    @contextlib.asynccontextmanager
    async def peer(
        self, role: Literal["partner", "viewer", "feeder"] = "partner", config: WebRTCConfig | None = None
    ) -> AsyncGenerator[Peer]:
        """A peer and the broadcasts that it is served from; all of it is closed in the end."""
        broadcasts = AudioBroadcast(self.audio), VideoBroadcast(self.video, 25, 500_000)
        sent = (broadcasts[0].viewer(), broadcasts[1].viewer()) if role != "feeder" else (None, None)
        peer = Peer(config or WebRTCConfig(), *sent, self.microphone.push if role != "viewer" else None)
        playing = asyncio.create_task(self._play())
        try:
            yield peer
        finally:
            playing.cancel()
            await peer.close()
            for broadcast in broadcasts:
                await broadcast.aclose()

    async def _play(self) -> None:
        number = 0
        while True:
            self.video.put(number, np.full((64, 64, 3), number % 200, np.uint8))
            self.audio.put(1920 * number, np.zeros(960, np.float32))
            self.audio.put(1920 * number + 960, np.zeros(960, np.float32))
            number += 1
            await asyncio.sleep(0.04)


async def connect(peer: Peer, viewer: RTCPeerConnection) -> str:
    """Offer and answer; returns the answer."""
    await viewer.setLocalDescription(await viewer.createOffer())
    sdp = await peer.answer(viewer.localDescription.sdp)
    await viewer.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
    async with asyncio.timeout(10):
        while not peer.connected:  # noqa: ASYNC110  # as the watch sees it: by looking
            await asyncio.sleep(0.02)
    return sdp


def new_viewer() -> RTCPeerConnection:
    return RTCPeerConnection(RTCConfiguration(iceServers=[]))


def talking_viewer() -> RTCPeerConnection:
    """One that sends sound and takes sound and picture, as our page does."""
    viewer = new_viewer()
    viewer.addTrack(Voice())
    viewer.addTransceiver("video", direction="recvonly")
    return viewer


def assert_hears_the_tone(microphone: Microphone) -> None:
    heard = microphone.pull(2400)
    assert heard is not None
    assert np.argmax(np.abs(np.fft.rfft(heard))) * 48_000 / 2400 == pytest.approx(440, abs=20)


def test_the_viewers_voice_reaches_the_microphone_and_vp8_is_answered_first():
    async def scenario() -> None:
        stage = Stage()
        async with stage.peer() as peer:
            viewer = talking_viewer()
            answer = await connect(peer, viewer)
            assert answer.index("VP8/90000") < answer.index("H264/90000")
            await asyncio.sleep(1)
            assert_hears_the_tone(stage.microphone)
            assert await peer.silence_s() < 1
            await viewer.close()
        assert peer.gone

    asyncio.run(scenario())


@pytest.mark.parametrize("codec", ["vp8", "h264"])
def test_the_owners_codec_is_sent_and_decoded(codec: Literal["vp8", "h264"]):
    """Pictures of the right size arrive, at the rate they are shown."""

    async def scenario() -> None:
        async with Stage().peer("viewer", WebRTCConfig(codec)) as peer:
            viewer = new_viewer()
            transceiver = viewer.addTransceiver("video", direction="recvonly")
            answer = await connect(peer, viewer)
            first = answer.index(f"{codec.upper()}/90000")
            assert all(first <= answer.index(f"{name}/90000") for name in ("VP8", "H264"))
            started = time.monotonic()
            async with asyncio.timeout(5):
                frames = [await transceiver.receiver.track.recv() for _ in range(15)]
            assert {(frame.width, frame.height) for frame in frames if isinstance(frame, av.VideoFrame)} == {(64, 64)}
            assert time.monotonic() - started < 3
            await viewer.close()

    asyncio.run(scenario())


def test_a_viewer_is_not_heard_whatever_he_offers():
    async def scenario() -> None:
        stage = Stage()
        async with stage.peer("viewer") as peer:
            viewer = talking_viewer()
            answer = await connect(peer, viewer)
            assert "a=sendrecv" not in answer
            assert "a=recvonly" not in answer
            await asyncio.sleep(0.5)
            assert stage.microphone.buffered_samples == 0
            await viewer.close()

    asyncio.run(scenario())


def test_a_feeder_is_heard_and_his_picture_is_declined():
    async def scenario() -> None:
        stage = Stage()
        async with stage.peer("feeder") as peer:
            viewer = new_viewer()
            viewer.addTransceiver(Voice(), direction="sendonly")
            viewer.addTransceiver("video", direction="sendonly")
            answer = await connect(peer, viewer)
            audio, video = answer.split("m=video")
            assert "a=recvonly" in audio
            assert "a=inactive" in video
            await asyncio.sleep(0.7)
            assert_hears_the_tone(stage.microphone)
            await viewer.close()

    asyncio.run(scenario())


def test_a_viewer_who_wants_sound_only_connects_too():
    """A track that the offer has no line for must not be waited for."""

    async def scenario() -> None:
        async with Stage().peer("viewer") as peer:
            viewer = new_viewer()
            transceiver = viewer.addTransceiver("audio", direction="recvonly")
            await connect(peer, viewer)
            async with asyncio.timeout(5):
                assert isinstance(await transceiver.receiver.track.recv(), av.AudioFrame)
            await viewer.close()

    asyncio.run(scenario())


def test_a_viewer_who_vanishes_is_silent():
    """Without a goodbye the connection still counts as connected; silence tells."""

    async def scenario() -> None:
        async with Stage().peer() as peer:
            viewer = talking_viewer()
            await connect(peer, viewer)
            await peer.silence_s()
            (transport,) = {sender.transport.transport for sender in viewer.getSenders()}
            await transport._connection.close()  # the network is gone: nothing is sent any more, and no goodbye
            await asyncio.sleep(0.5)
            await peer.silence_s()
            await asyncio.sleep(1)
            assert await peer.silence_s() >= 1
            assert not peer.gone
            await viewer.close()

    asyncio.run(scenario())


def test_an_offer_that_the_stack_chokes_on_is_a_bad_sdp():
    """Well-formed as far as our own check goes, nonsense inside: refused with a code, and closing still works."""

    async def scenario() -> None:
        viewer = new_viewer()
        viewer.addTransceiver("audio", direction="recvonly")
        await viewer.setLocalDescription(await viewer.createOffer())
        sdp = viewer.localDescription.sdp.replace("a=rtpmap:96 opus/48000/2", "a=rtpmap:x").replace("a=mid:0", "a=mid")
        async with Stage().peer() as peer:
            with pytest.raises(RequestError) as refused:
                await peer.answer(sdp)
            assert refused.value.code == "bad_sdp"
        await viewer.close()

    asyncio.run(scenario())


def test_media_that_is_not_bundled_is_refused():
    """Two transports would be two connections to watch, and no client of today needs them."""

    async def scenario() -> None:
        viewer = talking_viewer()
        await viewer.setLocalDescription(await viewer.createOffer())
        sdp = "".join(line for line in viewer.localDescription.sdp.splitlines(True) if "a=group:BUNDLE" not in line)
        async with Stage().peer() as peer:
            with pytest.raises(RequestError, match="BUNDLE"):
                await peer.answer(sdp)
        await viewer.close()

    asyncio.run(scenario())
