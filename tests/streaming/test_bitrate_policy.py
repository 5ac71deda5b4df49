"""The bit rate for viewers of different speed, in virtual time."""

from __future__ import annotations

import pytest

from avacast.streaming.bitrate_policy import STEADY_S, BitratePolicy


def test_without_a_word_from_anybody_it_is_the_owners_setting():
    assert BitratePolicy(1_500_000).decide(0) == 1_500_000


def test_it_falls_at_once_to_what_the_slowest_can_take():
    policy = BitratePolicy(1_500_000)
    policy.note("fast", 9_000_000)
    policy.note("slow", 800_000)
    assert policy.decide(10) == 800_000


def test_nobody_is_waited_for_below_a_third():
    policy = BitratePolicy(1_500_000)
    policy.note("modem", 30_000)
    assert policy.decide(10) == 500_000


def test_small_changes_are_not_worth_a_keyframe():
    policy = BitratePolicy(1_500_000)
    policy.note("a", 1_400_000)
    assert policy.decide(10) == 1_500_000


def test_it_rises_step_by_step_when_it_has_been_steady():
    """And at once towards the setting when the slow one has left, still by a quarter at a time."""
    policy = BitratePolicy(1_500_000)
    policy.note("slow", 600_000)
    policy.decide(10)
    policy.forget("slow")
    assert policy.decide(10 + STEADY_S - 0.1) == 600_000
    assert policy.decide(10 + STEADY_S) == 750_000
    rates = [policy.decide(10 + STEADY_S * step) for step in range(2, 8)]
    assert rates[-1] == pytest.approx(1_500_000, rel=0.1)
    assert rates == sorted(rates)
