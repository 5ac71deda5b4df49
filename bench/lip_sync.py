"""How well a mouth follows a sound: the correlation of two curves at the best small lag.

Knows curves over time; knows nothing of faces or files.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STEP_S = 0.02
SMOOTHING_S = 0.12
"""Loudness rises and falls with syllables; faster detail (voicing, bursts) has no counterpart in the lips."""


def best_correlation(
    times_s: NDArray[np.float64],
    opening: NDArray[np.floating],
    loudness: NDArray[np.floating],
    *,
    max_lag_s: float = 0.3,
) -> tuple[float, float]:
    """Correlation of opening [F] and loudness [F], seen at `times_s` [F], and its lag.

    A positive lag in seconds means that the mouth is later than the sound. Loudness enters as its square root, which
    is nearer to how far people open their mouths. Returns 0 for a curve without any change.
    """
    grid = np.arange(times_s[0], times_s[-1], STEP_S)
    mouth = _smooth(np.interp(grid, times_s, opening))
    sound = _smooth(np.interp(grid, times_s, np.sqrt(loudness)))
    max_lag = round(max_lag_s / STEP_S)
    lags = range(-max_lag, max_lag + 1)
    middle = slice(max_lag, len(grid) - max_lag)
    scores = [_correlation(np.roll(mouth, -lag)[middle], sound[middle]) for lag in lags]
    best = int(np.argmax(scores))
    return scores[best], lags[best] * STEP_S


def _smooth(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    width = round(SMOOTHING_S / STEP_S)
    padded = np.pad(curve, (width // 2, width - 1 - width // 2), mode="edge")
    return np.convolve(padded, np.ones(width) / width, mode="valid")


def _correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    first, second = first - first.mean(), second - second.mean()
    scale = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / scale if scale > 1e-9 else 0.0
