"""One stretch of speech on its way."""

from __future__ import annotations

import numpy as np
import pytest

from avacast.streaming.utterance import PREFILL_SAMPLES, Utterance


class Told:
    """A listener that notes what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, float, bool]] = []

    def on_started(self, utterance: Utterance, pts_s: float) -> None:
        self.events.append((f"{utterance.name} started", pts_s, False))

    def on_heard(self, utterance: Utterance) -> None:
        assert utterance.num_heard

    def on_finished(self, utterance: Utterance, interrupted: bool) -> None:
        self.events.append((f"{utterance.name} finished", utterance.position_s, interrupted))


def ramp(num_samples: int) -> np.ndarray:
    return np.arange(num_samples, dtype=np.float32)


def test_what_goes_in_comes_out_however_it_is_cut():
    utterance = Utterance("a")
    for start in range(0, 10_000, 700):
        utterance.push(ramp(10_000)[start : start + 700])
    utterance.end()
    taken: list[np.ndarray] = []
    while utterance.num_waiting:
        taken.append(utterance.take(333))
    assert np.array_equal(np.concatenate(taken), ramp(10_000))
    assert utterance.num_pushed == 10_000


def test_a_little_is_gathered_before_it_begins_and_after_it_ran_dry():
    utterance = Utterance("a")
    utterance.push(ramp(PREFILL_SAMPLES - 1))
    assert not len(utterance.take(960))
    utterance.push(ramp(1))
    assert sum(len(utterance.take(960)) for _ in range(3)) == PREFILL_SAMPLES
    assert not len(utterance.take(960))
    utterance.push(ramp(960))
    assert not len(utterance.take(960))
    utterance.end()
    assert len(utterance.take(960)) == 960


def test_the_listener_hears_once_of_the_start_and_once_of_the_end():
    told = Told()
    utterance = Utterance("a", told)
    utterance.push(ramp(4800))
    utterance.take(4800)
    utterance.hear(960, 1.5)
    utterance.hear(3840, 1.52)
    assert told.events == [("a started", 1.5, False)]
    utterance.end()
    utterance.end()
    utterance.cut()
    assert told.events == [("a started", 1.5, False), ("a finished", 0.1, False)]


def test_an_empty_utterance_finishes_at_once():
    told = Told()
    Utterance("a", told).end()
    assert told.events == [("a finished", 0.0, False)]


def test_a_cut_says_what_was_heard_and_drops_what_still_comes():
    told = Told()
    utterance = Utterance("a", told)
    utterance.push(ramp(9600))
    utterance.take(4800)
    utterance.hear(2400, 0.0)
    utterance.cut()
    utterance.push(ramp(100))
    utterance.hear(2400, 0.05)
    utterance.end()
    assert told.events == [("a started", 0.0, False), ("a finished", 0.05, True)]
    assert utterance.num_waiting == 0


def test_pushing_after_the_end_breaks_the_contract():
    utterance = Utterance("a")
    utterance.end()
    with pytest.raises(AssertionError, match="has ended"):
        utterance.push(ramp(1))


def test_what_was_cut_is_taken_up_where_it_was_last_heard():
    """Also what had been taken and not heard yet; name and position go on, and the listener hears of it again."""
    told = Told()
    utterance = Utterance("a", told)
    samples = ramp(9_000)
    utterance.push(samples[:5_000])
    utterance.push(samples[5_000:])
    utterance.take(4_000)
    utterance.hear(2_500, 0.0)
    utterance.cut()
    rest = utterance.resumed()
    assert rest.name == "a"
    assert rest.position_s == 2_500 / 48_000
    assert np.array_equal(rest.take(9_000), samples[2_500:])
    rest.hear(6_500, 1.0)
    assert rest.finished
    assert [event for event, _, _ in told.events] == ["a started", "a finished"] * 2
    assert told.events[-1][1:] == (9_000 / 48_000, False)
