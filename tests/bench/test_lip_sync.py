"""Curves whose correlation is known."""

from __future__ import annotations

import numpy as np
import pytest

from avacast.bench.lip_sync import best_correlation

TIMES_S = np.arange(0, 10, 0.04)
CURVE = np.abs(np.sin(2.1 * TIMES_S) * np.sin(5.3 * TIMES_S + 1))


@pytest.mark.parametrize("lag_s", [-0.2, 0.0, 0.12])
def test_the_lag_is_found(lag_s: float):
    mouth = np.interp(TIMES_S - lag_s, TIMES_S, CURVE)
    correlation, found_s = best_correlation(TIMES_S, mouth, CURVE**2)
    assert correlation > 0.98
    assert found_s == pytest.approx(lag_s, abs=0.021)


def test_a_mouth_that_moves_at_random_does_not_correlate():
    """The threshold of the browser test is well above what chance gives, over many tries."""
    rng = np.random.default_rng(0)
    scores = [best_correlation(TIMES_S, rng.random(len(TIMES_S)), CURVE**2)[0] for _ in range(50)]
    assert max(scores) < 0.45


def test_a_still_mouth_counts_as_nothing():
    assert best_correlation(TIMES_S, np.ones(len(TIMES_S)), CURVE)[0] == 0.0
