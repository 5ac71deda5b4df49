"""Sound read at another rate."""

from __future__ import annotations

import numpy as np
import pytest

from avacast.streaming.interpolator import NUM_TAPS, Interpolator


def read_all(samples: np.ndarray, rate: float, size: int) -> np.ndarray:
    """All that can be read, in pieces of `size`."""
    interpolator, pieces = Interpolator(), [np.zeros(0, np.float32)]
    while interpolator.num_available(len(samples), rate) >= size:
        piece, num_behind = interpolator.read(samples, size, rate)
        pieces.append(piece)
        samples = samples[num_behind:]
    return np.concatenate(pieces)


def test_at_rate_one_samples_come_out_as_they_went_in():
    samples = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    assert np.array_equal(read_all(samples, 1.0, 100), samples)


@pytest.mark.parametrize("rate", [0.995, 0.9998, 1.0002, 1.005])
@pytest.mark.parametrize("frequency_hz", [100, 1_000, 4_000, 8_000])
def test_a_tone_stays_a_tone_of_the_new_pitch(rate: float, frequency_hz: int):
    """To -55 dB at 8 kHz, and the better the lower."""
    step = 2 * np.pi * frequency_hz / 48_000
    tone = np.sin(step * np.arange(9_600)).astype(np.float32)
    heard = read_all(tone, rate, 960)
    assert len(heard) >= 9_600 / rate - 960 - NUM_TAPS
    expected = np.sin(step * rate * np.arange(len(heard)))
    assert np.abs(heard - expected)[NUM_TAPS:].max() < 2e-3


def test_pieces_of_any_size_are_the_same_sound():
    samples = np.random.default_rng(0).normal(size=4_000).astype(np.float32)
    whole, cut = read_all(samples, 1.003, 1_900), read_all(samples, 1.003, 7)
    assert np.allclose(whole, cut[: len(whole)], atol=1e-5)


def test_what_does_not_suffice_for_one_sample_makes_none():
    interpolator = Interpolator()
    assert interpolator.num_available(NUM_TAPS // 2, 1.001) == 0
    piece, num_behind = interpolator.read(np.zeros(8, np.float32), 0, 1.001)
    assert (len(piece), num_behind) == (0, 0)
    with pytest.raises(AssertionError, match="more than 8 samples hold"):
        interpolator.read(np.zeros(8, np.float32), 1, 1.001)
