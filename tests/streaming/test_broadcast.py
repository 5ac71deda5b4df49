"""One encode for many viewers, with real encoders and real tracks."""

from __future__ import annotations

import asyncio
from fractions import Fraction

import av
import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError

from avacast.streaming.broadcast import AudioBroadcast, VideoBroadcast, ViewerVideo, _Stream
from avacast.streaming.encoder import VideoEncoder
from avacast.streaming.tracks import AudioTrack, VideoTrack

SIZE = 64


def image(number: int) -> np.ndarray:
    return np.full((SIZE, SIZE, 3), number % 200, np.uint8)


async def show(track: VideoTrack, number: int) -> None:
    """Shows one picture and lets it pass through the encoder."""
    track.put(number, image(number))
    await asyncio.sleep(0.03)


async def start(viewer: ViewerVideo) -> asyncio.Task[av.Packet]:
    """Lets a viewer wait for its first packet."""
    first = asyncio.create_task(viewer.recv())
    await asyncio.sleep(0)
    return first


def test_viewers_of_one_codec_get_the_very_same_packets(monkeypatch: pytest.MonkeyPatch):
    """Ten pictures for three viewers are encoded ten times; the sizes and bytes are the same for all."""
    num_encoded = 0
    encode = VideoEncoder.encode

    def counted(self: VideoEncoder, frame: av.VideoFrame, *, keyframe: bool) -> av.Packet:
        nonlocal num_encoded
        num_encoded += 1
        return encode(self, frame, keyframe=keyframe)

    monkeypatch.setattr(VideoEncoder, "encode", counted)

    async def scenario() -> None:
        track = VideoTrack(25)
        broadcast = VideoBroadcast(track, 25, 500_000)
        viewers = [broadcast.viewer() for _ in range(3)]
        waiting = [await start(viewer) for viewer in viewers]
        for number in range(10):
            await show(track, number)
            packets = [await task for task in waiting]
            assert packets[0] is packets[1]
            assert packets[1] is packets[2]
            waiting = [await start(viewer) for viewer in viewers]
        assert num_encoded == 10
        assert broadcast.stats() == {"vp8": {"viewers": 3, "bitrate_bps": 500_000}}
        track.stop()
        for task in waiting:
            with pytest.raises(MediaStreamError):
                await task
        await broadcast.aclose()

    asyncio.run(scenario())


def test_nothing_is_encoded_while_nobody_watches():
    async def scenario() -> None:
        track = VideoTrack(25)
        broadcast = VideoBroadcast(track, 25, 500_000)
        viewer = broadcast.viewer()
        await show(track, 0)
        assert broadcast.stats() == {}
        waiting = await start(viewer)
        await show(track, 1)
        await waiting
        viewer.stop()
        assert broadcast.stats() == {}
        await broadcast.aclose()

    asyncio.run(scenario())


def test_a_newcomer_begins_with_a_keyframe_and_so_does_who_lost_some():
    async def scenario() -> None:
        track = VideoTrack(25)
        broadcast = VideoBroadcast(track, 25, 500_000)
        early, late = broadcast.viewer(), broadcast.viewer()
        waiting = await start(early)
        kinds: list[bool] = []
        for number in range(3):
            await show(track, number)
            kinds.append((await waiting).is_keyframe)
            waiting = await start(early)
        assert kinds == [True, False, False]
        await asyncio.sleep(0.5)
        newcomer = await start(late)
        await show(track, 3)
        assert (await newcomer).is_keyframe
        assert (await waiting).is_keyframe
        for number in range(4, 9):  # the newcomer stops reading: his queue is emptied, not half of it
            waiting = await start(early)
            await show(track, number)
            await waiting
        await asyncio.sleep(0.5)
        waiting = await start(early)
        await show(track, 9)
        assert late.num_dropped >= 2
        assert (await late.recv()).is_keyframe
        await broadcast.aclose()

    asyncio.run(scenario())


def test_wishes_for_keyframes_are_met_twice_a_second_at_most():
    """However often they come: 50 pictures, a wish before each, at 25 pictures a second."""
    stream = _Stream("vp8", 25, 500_000)
    keyframes: list[int] = []
    for number in range(50):
        stream.keyframe_wanted = True
        frame = av.VideoFrame.from_ndarray(image(number), format="rgb24")
        frame.pts, frame.time_base = 3600 * number, Fraction(1, 90_000)
        if stream.encode(frame, number / 25).is_keyframe:
            keyframes.append(number)
    assert keyframes == [0, 13, 26, 39]


def test_a_slow_viewer_lowers_the_rate_for_all_and_leaves_it_when_he_leaves():
    async def scenario() -> None:
        track = VideoTrack(25)
        broadcast = VideoBroadcast(track, 25, 900_000)
        fast, slow = broadcast.viewer(), broadcast.viewer()
        waiting = [await start(fast), await start(slow)]
        slow.note_bandwidth(450_000)
        await show(track, 0)
        assert broadcast.stats()["vp8"]["bitrate_bps"] == 450_000
        slow.stop()
        assert broadcast._streams["vp8"].bitrate.decide(1e9) > 450_000
        await broadcast.aclose()
        await asyncio.gather(*waiting, return_exceptions=True)

    asyncio.run(scenario())


def test_each_codec_has_a_stream_of_its_own():
    async def scenario() -> None:
        track = VideoTrack(25)
        broadcast = VideoBroadcast(track, 25, 500_000)
        vp8, h264 = broadcast.viewer(), broadcast.viewer()
        h264.codec = "h264"
        waiting = [await start(vp8), await start(h264)]
        await show(track, 0)
        first, second = [bytes(await task) for task in waiting]
        assert first[3:6] == b"\x9d\x01\x2a"  # the start code of a VP8 keyframe
        assert second.startswith(b"\x00\x00\x00\x01")
        await broadcast.aclose()

    asyncio.run(scenario())


def test_sound_reaches_every_viewer_from_when_he_came():
    async def scenario() -> None:
        track = AudioTrack()
        broadcast = AudioBroadcast(track)
        viewers = [broadcast.viewer() for _ in range(2)]
        track.put(0, np.zeros(960, np.float32))
        await asyncio.sleep(0.01)
        waiting = [asyncio.create_task(viewer.recv()) for viewer in viewers]
        await asyncio.sleep(0)
        track.put(960, np.zeros(960, np.float32))
        packets = [await task for task in waiting]
        assert [packet.pts for packet in packets] == [960, 960]
        assert packets[0] is packets[1]
        track.stop()
        with pytest.raises(MediaStreamError):
            await viewers[0].recv()
        await broadcast.aclose()

    asyncio.run(scenario())
