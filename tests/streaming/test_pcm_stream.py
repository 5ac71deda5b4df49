"""PCM as it comes over a network, made into samples as they are heard."""

from __future__ import annotations

import numpy as np
import pytest

from avacast.streaming.pcm_stream import PcmStream


def tone(rate_hz: int, duration_s: float) -> np.ndarray:
    return (12_000 * np.sin(2 * np.pi * 440 * np.arange(round(rate_hz * duration_s)) / rate_hz)).astype("<i2")


def through(stream: PcmStream, pcm: bytes, piece_bytes: int) -> np.ndarray:
    pieces = [stream.push(pcm[start : start + piece_bytes]) for start in range(0, len(pcm), piece_bytes)]
    return np.concatenate([*pieces, stream.flush()])


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 24_000, 44_100, 48_000])
def test_every_sample_is_heard_at_its_time(rate_hz: int):
    """Half a second in is half a second out, and the tone is where it was."""
    heard = through(PcmStream(rate_hz), tone(rate_hz, 0.5).tobytes(), 1_000)
    assert len(heard) == 24_000
    expected = tone(48_000, 0.5) / 32_768
    assert np.abs(heard - expected)[480:-480].max() < 0.01


@pytest.mark.parametrize("piece_bytes", [1, 3, 7, 640, 12_000])
def test_pieces_may_end_within_a_sample(piece_bytes: int):
    pcm = tone(24_000, 0.1).tobytes()
    assert np.array_equal(through(PcmStream(24_000), pcm, piece_bytes), through(PcmStream(24_000), pcm, len(pcm)))


def test_half_a_sample_at_the_end_is_dropped():
    assert len(through(PcmStream(48_000), bytes(4_801), 4_801)) == 2_400
