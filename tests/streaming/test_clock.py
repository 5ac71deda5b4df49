"""Deadlines are absolute."""

from __future__ import annotations

import pytest

from avacast.streaming.clock import MediaClock


def test_deadlines_come_from_the_start_alone():
    """An hour of packets ends exactly an hour after the start: nothing adds up."""
    clock = MediaClock(start_s=1000.0, fps=25)
    assert clock.deadline_s(0) == 1000.0
    assert clock.deadline_s(180_000) == 4600.0
    assert clock.packets_per_slot == 2


def test_lateness_is_negative_before_the_deadline():
    clock = MediaClock(start_s=0.0)
    assert clock.lateness_s(1, 0.0) == pytest.approx(-0.02)
    assert clock.lateness_s(1, 0.05) == pytest.approx(0.03)


def test_resume_makes_the_packet_due_and_keeps_the_pace():
    clock = MediaClock(start_s=0.0)
    clock.resume(10, now_s=500.0)
    assert clock.deadline_s(10) == pytest.approx(500.0)
    assert clock.deadline_s(11) == pytest.approx(500.02)


def test_a_frame_rate_that_splits_packets_is_a_broken_contract():
    with pytest.raises(AssertionError, match="30 fps"):
        MediaClock(start_s=0.0, fps=30)
