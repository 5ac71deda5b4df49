"""48 kHz to 16 kHz."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avacast.streaming.decimator import Decimator

NOISE = np.random.default_rng(0).standard_normal(9600).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 1200), max_size=8))
def test_chunked_equals_whole(thirds: list[int]):
    """Whatever the pieces, the output is the same to the last bit."""
    cuts = np.cumsum([3 * n for n in thirds])
    decimator = Decimator()
    pieces = [decimator.push(piece) for piece in np.split(NOISE, cuts[cuts < len(NOISE)])]
    assert np.array_equal(np.concatenate(pieces), Decimator().push(NOISE))


@pytest.mark.parametrize(("frequency_hz", "low", "high"), [(300, 0.98, 1.02), (6000, 0.9, 1.02), (10_000, 0, 0.002)])
def test_speech_passes_and_what_would_fold_does_not(frequency_hz: int, low: float, high: float):
    time_s = np.arange(48_000) / 48_000
    out = Decimator().push(np.sin(2 * np.pi * frequency_hz * time_s).astype(np.float32))
    assert len(out) == 16_000
    amplitude = float(np.sqrt(2 * np.mean(out[1000:] ** 2)))
    assert low <= amplitude <= high


def test_a_piece_that_is_no_multiple_of_three_is_a_broken_contract():
    with pytest.raises(AssertionError, match="multiple"):
        Decimator().push(np.zeros(4, np.float32))
