"""training/throat.py: one voice made many."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from avacast.training.throat import Throat

RATE_HZ = 16_000


def vowel(pitch_hz: float, formant_hz: float) -> NDArray[np.float32]:
    """A second of pulses through one resonance."""
    pulses = np.zeros(RATE_HZ)
    pulses[:: round(RATE_HZ / pitch_hz)] = 1.0
    time_s = np.arange(800) / RATE_HZ
    resonance = np.exp(-time_s * 400) * np.sin(2 * np.pi * formant_hz * time_s)
    sound = np.convolve(pulses, resonance)[:RATE_HZ]
    return (0.3 * sound / np.abs(sound).max()).astype(np.float32)


def spectrum(sound: NDArray[np.float32]) -> NDArray[np.float64]:
    """Power at every hertz."""
    return np.abs(np.fft.rfft(sound.astype(np.float64) * np.hanning(len(sound)), RATE_HZ)) ** 2


def formant_of(sound: NDArray[np.float32]) -> float:
    """The middle of the power between 300 and 3000 Hz."""
    band = np.arange(300, 3000)
    power = spectrum(sound)[band]
    return float((power * band).sum() / power.sum())


def test_the_same_throat_says_the_same() -> None:
    """To rounding, at any length, silence included."""
    for sound in (vowel(120, 900), vowel(200, 1500)[:1000], np.zeros(500, np.float32), vowel(120, 900)[:1]):
        assert np.abs(Throat().speak(sound) - sound).max() < 1e-5


@pytest.mark.parametrize("factor", [0.87, 1.15])
def test_formants_move_and_pitch_stays(factor: float) -> None:
    """The resonance goes towards where the throat puts it; the pulses come as often as before."""
    sound = vowel(125, 1000)
    other = Throat(low=factor, high=factor).speak(sound)

    # A resonance narrower than the envelope's ripples stays behind a little.
    assert 0.5 < np.log(formant_of(other) / formant_of(sound)) / np.log(factor) < 1.2
    harmonics = np.arange(1, 16) * 125
    between = harmonics - 62
    assert spectrum(other)[harmonics].sum() > 100 * spectrum(other)[between].sum()


def test_power_stays_and_time_stays() -> None:
    """Who follows loudness follows it as before, and silence stays where it was."""
    sound = np.concatenate([vowel(125, 1000)[:8000], np.zeros(8000, np.float32)])
    for seed in range(5):
        other = Throat.sample(np.random.default_rng(seed)).speak(sound)
        assert len(other) == len(sound)
        assert np.std(other[:7000]) == pytest.approx(np.std(sound[:7000]), rel=0.1)
        assert np.abs(other[8600:]).max() < 1e-4


def test_a_muffled_throat_has_flatter_peaks() -> None:
    """Sharpness is how far the formants stand out."""
    muffled, sharp = (Throat(sharpness=s).speak(vowel(125, 1000)) for s in (0.75, 1.25))

    def peak_over_rest(sound: NDArray[np.float32]) -> float:
        power = spectrum(sound)
        return float(power[900:1100].sum() / power[2000:6000].sum())

    assert peak_over_rest(sharp) > 3 * peak_over_rest(muffled)
