"""What the encoders promise to whoever hands their packets on."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.codeccontext import VideoCodecContext

from avacast.streaming.encoder import AudioEncoder, VideoEncoder
from avacast.streaming.webrtc_config import VideoCodec

SIZE = 128


def picture(number: int) -> av.VideoFrame:
    """A smooth pattern that drifts."""
    phase = np.linspace(0, 2 * np.pi, SIZE) + number / 10
    grey = (127 + 100 * np.sin(phase)[:, None] * np.cos(phase)[None]).astype(np.uint8)
    frame = av.VideoFrame.from_ndarray(np.repeat(grey[..., None], 3, 2), format="rgb24")
    frame.pts, frame.time_base = 3600 * number, Fraction(1, 90_000)
    return frame


@pytest.mark.parametrize("codec", ["vp8", "h264"])
def test_every_frame_is_one_packet_with_its_time_and_a_keyframe_comes_when_asked_for(codec: VideoCodec):
    """And a decoder that starts at the second keyframe sees the picture: nothing before it is needed."""
    encoder = VideoEncoder(codec, SIZE, SIZE, 25, 500_000)
    packets = [encoder.encode(picture(number), keyframe=number == 20) for number in range(30)]
    assert [packet.pts for packet in packets] == [3600 * number for number in range(30)]
    assert [number for number, packet in enumerate(packets) if packet.is_keyframe] == [0, 20]
    decoder = av.CodecContext.create(codec, "r")
    assert isinstance(decoder, VideoCodecContext)
    shown = [frame for packet in packets[20:] for frame in decoder.decode(av.Packet(bytes(packet)))]
    shown += decoder.decode(None)
    assert len(shown) == 10
    difference = shown[-1].to_ndarray(format="gray").astype(int) - picture(29).to_ndarray(format="gray").astype(int)
    assert np.abs(difference).mean() < 4


@pytest.mark.parametrize("codec", ["vp8", "h264"])
def test_the_bit_rate_is_kept_with_a_picture_that_nobody_could_afford(codec: VideoCodec):
    """Noise: within a half more than the setting after the first second."""
    rng = np.random.default_rng(0)
    encoder = VideoEncoder(codec, SIZE, SIZE, 25, 300_000)
    sizes: list[int] = []
    for number in range(75):
        frame = av.VideoFrame.from_ndarray(rng.integers(0, 255, (SIZE, SIZE, 3), np.uint8), format="rgb24")
        frame.pts, frame.time_base = 3600 * number, Fraction(1, 90_000)
        sizes.append(encoder.encode(frame, keyframe=False).size)
    assert 8 * sum(sizes[25:]) / 2 < 450_000


def test_h264_is_of_the_kind_that_every_browser_takes():
    """Baseline: the profile that is agreed on (42), as the sequence parameter set says."""
    packet = bytes(VideoEncoder("h264", SIZE, SIZE, 25, 500_000).encode(picture(0), keyframe=True))
    parameters = packet.index(b"\x00\x00\x01\x67") + 4
    assert packet[parameters] == 0x42


def test_sound_keeps_its_time_and_its_pitch():
    encoder = AudioEncoder()
    decoder = av.CodecContext.create("libopus", "r")
    assert isinstance(decoder, av.AudioCodecContext)
    decoder.sample_rate = 48_000
    heard: list[np.ndarray] = []
    for number in range(25):
        wave = np.sin(2 * np.pi * 440 / 48_000 * (np.arange(960) + 960 * number))
        frame = av.AudioFrame.from_ndarray((8000 * wave).astype(np.int16)[None], "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, 960 * number, Fraction(1, 48_000)
        packet = encoder.encode(frame)
        assert packet.pts == 960 * number
        heard += [sound.to_ndarray().reshape(-1, len(sound.layout.channels))[:, 0] for sound in decoder.decode(packet)]
    samples = np.concatenate(heard)[-9600:].astype(np.float64)
    assert np.argmax(np.abs(np.fft.rfft(samples))) * 5 == pytest.approx(440, abs=10)
