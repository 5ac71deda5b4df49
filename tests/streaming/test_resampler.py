"""Sound of any rate to 16 kHz mono: however it is cut, whatever it holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avacast.engine.errors import BadAudio
from avacast.streaming.resampler import MAX_DELAY_MS, Resampler

RATES_HZ = (4_000, 8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000, 192_000)


def convert(rate_hz: int, pieces: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
    resampler = Resampler(rate_hz)
    return np.concatenate([*(resampler.push(piece) for piece in pieces), resampler.flush()])


def noise(num_samples: int) -> NDArray[np.float32]:
    return (0.1 * np.random.default_rng(0).standard_normal(num_samples)).astype(np.float32)


def tone(rate_hz: int, frequency_hz: float, seconds: float = 1.0) -> NDArray[np.float32]:
    time_s = np.arange(round(rate_hz * seconds)) / rate_hz
    return (0.5 * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(rate_hz=st.sampled_from(RATES_HZ), cuts=st.lists(st.integers(0, 30_000), max_size=8))
def test_chunked_equals_whole(rate_hz: int, cuts: list[int]):
    """Whatever the pieces, empty ones too, the output is the same to the last bit."""
    sound = noise(30_000)
    assert np.array_equal(convert(rate_hz, np.split(sound, sorted(cuts))), convert(rate_hz, [sound]))


@pytest.mark.parametrize("rate_hz", [8_000, 44_100])
def test_single_samples_equal_the_whole(rate_hz: int):
    sound = noise(4_000)
    assert np.array_equal(convert(rate_hz, np.split(sound, len(sound))), convert(rate_hz, [sound]))


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("num_samples", [0, 1, 2, 160, 30_001])
def test_the_length_is_that_of_the_time_to_a_sample(rate_hz: int, num_samples: int):
    """round(N * 16000 / rate), halves up."""
    expected = int(num_samples * 16_000 / rate_hz + 0.5)
    assert len(convert(rate_hz, [noise(num_samples)])) == expected


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_a_tone_keeps_its_frequency_level_and_phase(rate_hz: int):
    """The output is the tone as 16 kHz samples it, in place: no shift by any delay."""
    out, expected = convert(rate_hz, [tone(rate_hz, 1_000)]), tone(16_000, 1_000)
    assert np.abs(out - expected)[800:-800].max() < 1e-3


@pytest.mark.parametrize("rate_hz", [22_050, 24_000, 44_100, 48_000])
def test_what_would_fold_does_not_pass(rate_hz: int):
    out = convert(rate_hz, [tone(rate_hz, 9_500)])
    assert np.abs(out[800:-800]).max() < 1e-4


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_a_gap_of_one_second_stays_silent_and_in_place(rate_hz: int):
    """Silence from 1 s to 2 s; the filter rings for a few milliseconds at its edges and not beyond."""
    gap, speech = np.zeros(rate_hz, np.float32), tone(rate_hz, 440)
    out = convert(rate_hz, [speech, gap, speech])
    assert len(out) == 48_000
    assert np.abs(out[16_800:31_200]).max() < 1e-6
    for second in (out[:16_000], out[32_000:]):
        assert np.sqrt(np.mean(second[800:-800] ** 2)) == pytest.approx(0.5 / np.sqrt(2), rel=1e-2)
    loud = np.flatnonzero(np.abs(out) > 0.1)
    assert loud[loud < 24_000].max() == pytest.approx(16_000, abs=40)
    assert loud[loud > 24_000].min() == pytest.approx(32_000, abs=40)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_what_was_pushed_comes_out_within_the_delay(rate_hz: int):
    resampler, pushed, left, delay_s = Resampler(rate_hz), 0, 0, 0.0
    for piece in np.array_split(noise(rate_hz), 100):
        pushed += len(piece)
        left += len(resampler.push(piece))
        delay_s = max(delay_s, pushed / rate_hz - left / 16_000)
    assert delay_s <= MAX_DELAY_MS / 1_000
    if rate_hz == 16_000:
        assert left == 16_000


def test_stereo_is_averaged():
    left, right = tone(48_000, 300), tone(48_000, 700)
    both = convert(48_000, [np.stack([left, right])])
    assert np.allclose(both, convert(48_000, [(left + right) / 2]), atol=1e-6)
    assert np.array_equal(convert(48_000, [left[None]]), convert(48_000, [left]))


def test_int16_and_double_give_what_float_gives():
    sound = np.round(tone(24_000, 500) * 32_768) / 32_768
    expected = convert(24_000, [sound.astype(np.float32)])
    for same in ((sound * 32_768).astype(np.int16), sound.astype(np.float64)):
        resampler = Resampler(24_000)
        assert np.array_equal(np.concatenate([resampler.push(same), resampler.flush()]), expected)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("level", [3.0, 1e30])
def test_clipping_stays_finite_and_in_range(rate_hz: int, level: float):
    """A square wave at the rails, and samples far beyond them, leave within -1..1."""
    for sound in (level * np.sign(tone(rate_hz, 200)), np.full(rate_hz, level)):
        out = convert(rate_hz, [sound.astype(np.float64)])
        assert np.isfinite(out).all()
        assert np.abs(out).max() <= 1
        assert np.abs(out[800:-800]).max() > 0.9


@pytest.mark.parametrize("rate_hz", [-1, 0, 3_999, 192_001])
def test_a_rate_out_of_range_is_refused(rate_hz: int):
    with pytest.raises(BadAudio, match=f"{rate_hz} Hz is not taken, 4000 to 192000 is"):
        Resampler(rate_hz)


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (np.array([0, np.nan], np.float32), "NaN or infinite"),
        (np.array([[0.0], [np.inf]]), "NaN or infinite"),
        (np.zeros((960, 2), np.float32), r"not \[960, 2\]; transpose"),
        (np.zeros((3, 960), np.int16), r"not \[3, 960\]"),
        (np.zeros((1, 2, 960), np.float32), r"not \[1, 2, 960\]"),
        (np.zeros((), np.float32), r"not \[\]"),
        (np.zeros(960, np.int32), "not int32"),
        (np.zeros(960, np.uint8), "not uint8"),
        (np.zeros(960, np.complex64), "not complex64"),
        (np.array(["a"]), "int16 or float"),
    ],
)
def test_what_is_no_sound_is_refused_and_leaves_no_trace(samples: NDArray[np.float32], reason: str):
    sound, resampler = noise(4_800), Resampler(48_000)
    before = resampler.push(sound[:1_000])
    with pytest.raises(BadAudio, match=reason):
        resampler.push(samples)
    out = np.concatenate([before, resampler.push(sound[1_000:]), resampler.flush()])
    assert np.array_equal(out, convert(48_000, [sound]))


def test_pushing_after_the_end_is_a_broken_contract():
    resampler = Resampler(48_000)
    resampler.flush()
    with pytest.raises(AssertionError, match="after flush"):
        resampler.push(noise(10))
    with pytest.raises(AssertionError, match="twice"):
        resampler.flush()
