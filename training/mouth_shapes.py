"""Phoneme times to mouth tracks, with coarticulation.

Each phoneme has a target for jaw, spread, press, teeth and tongue and, per track, a dominance: how firmly it holds its
target against its neighbours. A track is the dominance-weighted mean of the targets under a Gaussian in time, the
simplest form of the dominance model of Cohen and Massaro (1993). Knows phonemes and numbers, no audio and no pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avacast.engine.voice import Phoneme

TRACKS = ("jaw", "spread", "press", "teeth", "tongue")
_GRID_HZ = 200
_COARTICULATION_S = 0.034
_JAW_GAIN = 1.25
_MARKS = "ˈˌːˑʲʰˠ̩̃͡-'."


@dataclass(frozen=True)
class _Shape:
    """Targets in [0, 1] (spread in [-1, 1]) and the dominances of jaw, spread and the rest."""

    jaw: float
    spread: float = 0.0
    press: float = 0.0
    teeth: float = 0.0
    tongue: float = 0.0
    jaw_dominance: float = 1.0
    spread_dominance: float = 1.0

    @property
    def targets(self) -> tuple[float, ...]:
        return self.jaw, self.spread, self.press, self.teeth, self.tongue

    @property
    def dominances(self) -> tuple[float, ...]:
        return self.jaw_dominance, self.spread_dominance, 2.0 if self.press else 1.0, 1.0, 1.0


_REST = _Shape(0.0, jaw_dominance=1.5)
_CLOSED = _Shape(0.0, press=1.0, jaw_dominance=4.0, spread_dominance=0.15)
_LABIODENTAL = _Shape(0.12, 0.1, teeth=1.0, jaw_dominance=2.0, spread_dominance=0.4)
_DENTAL = _Shape(0.22, teeth=0.4, tongue=0.9, jaw_dominance=0.8, spread_dominance=0.2)
_ALVEOLAR = _Shape(0.2, teeth=0.3, tongue=0.6, jaw_dominance=0.6, spread_dominance=0.15)
_SIBILANT = _Shape(0.1, 0.35, teeth=0.7, jaw_dominance=1.2, spread_dominance=0.4)
_HUSH = _Shape(0.16, -0.55, teeth=0.6, jaw_dominance=1.2)
_VELAR = _Shape(0.3, jaw_dominance=0.3, spread_dominance=0.1)
_NEUTRAL = _Shape(0.4, jaw_dominance=0.8, spread_dominance=0.4)

SHAPES: dict[str, _Shape] = {
    **dict.fromkeys(("", "_", " "), _REST),
    **dict.fromkeys("pbm", _CLOSED),
    **dict.fromkeys("fvɱ", _LABIODENTAL),
    **dict.fromkeys("θð", _DENTAL),
    **dict.fromkeys("tdnɾɲ", _ALVEOLAR),
    **dict.fromkeys("lɫʎ", _Shape(0.28, tongue=0.8, jaw_dominance=0.6, spread_dominance=0.15)),
    **dict.fromkeys("sz", _SIBILANT),
    **dict.fromkeys("ʃʒɕʑç", _HUSH),
    **dict.fromkeys("kɡgŋxɣqχʁhɦʔ", _VELAR),
    **dict.fromkeys("ɹrʀɻ", _Shape(0.22, -0.45, jaw_dominance=0.7, spread_dominance=0.6)),
    **dict.fromkeys("wβʍ", _Shape(0.15, -0.95, jaw_dominance=1.2, spread_dominance=1.5)),
    **dict.fromkeys("jɥ", _Shape(0.2, 0.7, jaw_dominance=0.6)),
    **dict.fromkeys("iᵻ", _Shape(0.28, 1.0)),
    **dict.fromkeys("ɪ", _Shape(0.38, 0.6)),
    **dict.fromkeys("e", _Shape(0.5, 0.6)),
    **dict.fromkeys("ɛ", _Shape(0.65, 0.45)),
    **dict.fromkeys("æ", _Shape(0.85, 0.45)),
    **dict.fromkeys("a", _Shape(0.95, 0.1)),
    **dict.fromkeys("ɑ", _Shape(1.0, -0.05)),
    **dict.fromkeys("ɐʌ", _Shape(0.68, 0.05)),
    **dict.fromkeys("əɨ", _Shape(0.4, 0.0, jaw_dominance=0.7, spread_dominance=0.3)),
    **dict.fromkeys("ɚɜɝ", _Shape(0.42, -0.3)),
    **dict.fromkeys("ɒ", _Shape(0.85, -0.45)),
    **dict.fromkeys("ɔ", _Shape(0.75, -0.6)),
    **dict.fromkeys("o", _Shape(0.55, -0.85)),
    **dict.fromkeys("ʊ", _Shape(0.35, -0.75)),
    **dict.fromkeys("uy", _Shape(0.27, -1.0)),
    **dict.fromkeys("øœ", _Shape(0.5, -0.7)),
}


def mouth_tracks(phonemes: Sequence[Phoneme], num_frames: int, fps: float) -> NDArray[np.float32]:
    """Mouth tracks [F, 5] (columns: `TRACKS`) sampled at the middle of each video frame.

    Time outside every phoneme is rest: closed lips.
    """
    targets, dominances = _grid(phonemes, num_frames / fps)
    kernel = _gaussian(_COARTICULATION_S * _GRID_HZ)
    weighted = np.stack([np.convolve(column, kernel, "same") for column in (targets * dominances).T])
    total = np.stack([np.convolve(column, kernel, "same") for column in dominances.T])
    tracks = (weighted / np.maximum(total, 1e-6)).T
    middles = ((np.arange(num_frames) + 0.5) / fps * _GRID_HZ).astype(int)
    sampled = tracks[np.minimum(middles, len(tracks) - 1)].astype(np.float32)
    # Smoothing shrinks short vowels; the gain gives the jaw its range back.
    sampled[:, 0] = np.minimum(_JAW_GAIN * sampled[:, 0], 1.0)
    # Lips that press are closed: the jaw follows them.
    sampled[:, 0] *= 1.0 - np.clip(1.6 * sampled[:, 2], 0.0, 1.0)
    return sampled


def base_symbols(name: str) -> list[str]:
    """The IPA letters of a phoneme's name without stress, length and other marks; [""] for a pause."""
    return [letter for letter in name if letter not in _MARKS] or [""]


def _grid(phonemes: Sequence[Phoneme], duration_s: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    length = max(1, int(np.ceil(duration_s * _GRID_HZ)))
    targets = np.tile(np.array(_REST.targets), (length, 1))
    dominances = np.tile(np.array(_REST.dominances), (length, 1))
    for phoneme in phonemes:
        symbols = base_symbols(phoneme.name)
        edges = np.linspace(phoneme.start_s, phoneme.end_s, len(symbols) + 1) * _GRID_HZ
        for symbol, start, end in zip(symbols, edges[:-1].astype(int), edges[1:].astype(int), strict=True):
            shape = SHAPES.get(symbol, _NEUTRAL)
            targets[start:end] = shape.targets
            dominances[start:end] = shape.dominances
    return targets, dominances


def _gaussian(sigma: float) -> NDArray[np.float64]:
    offsets = np.arange(-int(4 * sigma), int(4 * sigma) + 1)
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
    return kernel / kernel.sum()
