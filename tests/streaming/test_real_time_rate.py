"""Rates over the last second, and over the last windows."""

from __future__ import annotations

import pytest

from avacast.streaming.real_time_rate import RealTimeRate


def test_fresh_pictures_are_those_of_the_last_second():
    rate = RealTimeRate(25)
    for fresh in [True] * 25 + [False] * 10:
        rate.note_slot(fresh)
    assert rate.fresh_per_second == 15


def test_the_real_time_factor_is_computing_over_media():
    """Of the last sixteen windows, each counted by its frames; before any there is none."""
    rate = RealTimeRate(25)
    assert rate.real_time_factor == 0
    rate.note_compute(25, 100.0)
    for _ in range(15):
        rate.note_compute(5, 0.1)
    rate.note_compute(30, 0.3)
    assert rate.real_time_factor == pytest.approx((15 * 0.1 + 0.3) * 25 / (15 * 5 + 30))
