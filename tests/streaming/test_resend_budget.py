"""How many packets a loss report brings back, in virtual time."""

from __future__ import annotations

import pytest

from avacast.streaming.resend_budget import MAX_PER_REPORT, MAX_REMEMBERED, ResendBudget


def test_a_report_counts_each_packet_once():
    assert ResendBudget().admit([7, 7, 8, 7], 1.0) == [7, 8]


def test_a_packet_is_not_sent_twice_within_a_round_trip_nor_a_fourth_time():
    budget = ResendBudget()
    times = [1.0, 1.05, 1.15, 1.3, 1.6, 2.0]
    assert [budget.admit([7], now) for now in times] == [[7], [], [7], [7], [], []]


def test_one_report_and_one_second_have_their_limits():
    """A flood of reports naming ever new packets gets 250 at once and 250 a second after that."""
    budget = ResendBudget()
    assert len(budget.admit(range(1000), 1.0)) == MAX_PER_REPORT
    sent = MAX_PER_REPORT + sum(len(budget.admit(range(1000 * n, 1000 * n + 1000), 1.0)) for n in range(1, 30))
    assert sent == 250
    assert len(budget.admit(range(40_000, 40_100), 1.2)) == pytest.approx(50, abs=1)


def test_numbers_that_come_round_again_are_new_packets():
    budget = ResendBudget()
    for now in (1.0, 1.2, 1.4):
        budget.admit([7], now)
    assert budget.admit([7], 100.0) == [7]


def test_what_it_remembers_is_bounded():
    budget = ResendBudget()
    for number in range(3000):
        budget.admit([number], number * 0.01)
    assert len(budget._repeats) <= MAX_REMEMBERED
