"""One voice made many: the same words with the same pitch out of another throat.

A recorded voice is one speaker, and a dozen speakers are few. The envelope of the spectrum, which is the throat's, is
parted from what it filters, which is the larynx's, bent along the frequencies, sharpened or blurred, and put back.
Pitch and pace are a matter of the speed at which a sound is played. Knows sound; knows no words and no mouths.

Source of the parting: Oppenheim and Schafer, Discrete-Time Signal Processing, the chapter on the cepstrum; of the
bending: Jaitly and Hinton, Vocal Tract Length Perturbation (2013).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_WINDOW, _HOP = 512, 128
"""32 ms every 8 ms at 16 kHz."""
_PER_WINDOW = _WINDOW // _HOP
_NUM_CEPSTRA = 32
"""Ripples of the envelope: below 2 ms of quefrency, so that a pitch up to 500 Hz stays with the larynx."""
_FLOOR = 1e-5
_MAX_GAIN = 3.0
"""Of a frequency, as a natural logarithm: noise between formants is not made a voice."""


@dataclass(frozen=True)
class Throat:
    """How another throat differs."""

    low: float = 1.0
    """What its first formants are multiplied by: below 1 is a longer throat."""
    high: float = 1.0
    """The same above them."""
    sharpness: float = 1.0
    """What the logarithm of the envelope is multiplied by: below 1 is muffled."""

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Throat:
        """Within what people differ by."""
        low = float(rng.uniform(0.86, 1.16))
        return cls(low, low * float(rng.uniform(0.93, 1.07)), float(rng.uniform(0.75, 1.25)))

    def speak(self, sound: NDArray[np.float32]) -> NDArray[np.float32]:
        """`sound` [N] at 16 kHz as this throat would have made it, of the same length."""
        num_pieces = -(-len(sound) // _HOP) + _PER_WINDOW
        padded = np.pad(sound, (_WINDOW, num_pieces * _HOP - len(sound)))
        places = _HOP * np.arange(num_pieces)[:, None] + np.arange(_WINDOW)
        # Hann windows at a quarter of their width: their squares add up to 1.5.
        window = np.hanning(_WINDOW + 1)[:-1].astype(np.float32) / np.sqrt(1.5, dtype=np.float32)
        spectra = np.fft.rfft(padded[places] * window)
        pieces = np.fft.irfft(spectra * self._gain(spectra)) * window
        quarters = pieces.reshape(num_pieces, _PER_WINDOW, _HOP)
        total = np.zeros((num_pieces + _PER_WINDOW - 1, _HOP), np.float32)
        for number in range(_PER_WINDOW):
            total[number : number + num_pieces] += quarters[:, number]
        return total.reshape(-1)[_WINDOW : _WINDOW + len(sound)]

    def _gain(self, spectra: NDArray[np.complexfloating]) -> NDArray[np.floating]:
        """What each frequency of each spectrum [T, 257] is multiplied by; the power of a spectrum stays."""
        magnitudes = np.abs(spectra)
        cepstra = np.fft.irfft(np.log(magnitudes + _FLOOR))
        cepstra[:, _NUM_CEPSTRA : 1 - _NUM_CEPSTRA] = 0.0
        envelopes = np.fft.rfft(cepstra).real
        bent = envelopes[:, self._origins(envelopes.shape[1])]
        level = bent.mean(axis=1, keepdims=True)
        gain = np.exp(np.clip(level + self.sharpness * (bent - level) - envelopes, -_MAX_GAIN, _MAX_GAIN))
        power, changed = np.square(magnitudes).sum(axis=1), np.square(magnitudes * gain).sum(axis=1)
        return gain * np.sqrt(power / np.maximum(changed, _FLOOR**2))[:, None]

    def _origins(self, num_bins: int) -> NDArray[np.int64]:
        """For each frequency, the one whose envelope it gets: bent at 2.5 kHz, and towards the end back to itself."""
        ends = np.array([0.0, 2500.0, 6500.0, 8000.0])
        moved = np.array([0.0, 2500.0 * self.low, min(6500.0 * self.high, 7800.0), 8000.0])
        frequencies = np.linspace(0.0, 8000.0, num_bins)
        return np.round(np.interp(frequencies, moved, ends) / 8000.0 * (num_bins - 1)).astype(np.int64)
