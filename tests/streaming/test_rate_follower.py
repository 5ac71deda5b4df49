"""How fast to read what another clock writes."""

from __future__ import annotations

import pytest

from avacast.streaming.rate_follower import CALM_SAMPLES, MAX_CORRECTION, NUM_READS, TARGET_SAMPLES, RateFollower


def rate_after(*left: int) -> float:
    follower = RateFollower()
    for num_samples in left:
        follower.note_left(num_samples)
    return follower.rate


def test_nothing_is_changed_before_enough_was_seen():
    assert rate_after(*[12_000] * (NUM_READS - 1)) == 1.0


def test_nothing_is_changed_near_the_target():
    for left in (TARGET_SAMPLES - CALM_SAMPLES, TARGET_SAMPLES, TARGET_SAMPLES + CALM_SAMPLES):
        assert rate_after(*[left] * NUM_READS) == 1.0


def test_the_least_counts_for_it_is_what_jitter_has_left():
    assert rate_after(*[12_000] * NUM_READS, TARGET_SAMPLES) == 1.0


def test_too_much_is_read_faster_too_little_slower():
    """10 ms beyond the calm zone are 0.1 %, and nothing is beyond the bound."""
    assert rate_after(*[TARGET_SAMPLES + CALM_SAMPLES + 480] * NUM_READS) == pytest.approx(1.001)
    assert rate_after(*[TARGET_SAMPLES - CALM_SAMPLES - 480] * NUM_READS) == pytest.approx(0.999)
    assert rate_after(*[48_000] * NUM_READS) == 1 + MAX_CORRECTION


@pytest.mark.parametrize("ppm", [-500, -200, -50, 50, 200, 500])
def test_an_hour_of_drift_settles_beside_the_target(ppm: int):
    """And never runs dry on the way."""
    follower, left = RateFollower(), float(TARGET_SAMPLES)
    for _ in range(90_000):
        left += 1920 * (1 + ppm * 1e-6 - follower.rate)
        follower.note_left(round(left))
        assert 0 < left < 2 * TARGET_SAMPLES
    assert abs(left - TARGET_SAMPLES) < 2.1 * CALM_SAMPLES


def test_after_running_dry_it_begins_anew():
    follower = RateFollower()
    for _ in range(NUM_READS):
        follower.note_left(12_000)
    follower.reset()
    assert follower.rate == 1.0
    follower.note_left(12_000)
    assert follower.rate == 1.0
