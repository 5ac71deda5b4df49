from __future__ import annotations

import numpy as np

from avacast.streaming.interruption import MAX_RESUME_S, Interruption
from avacast.streaming.utterance import Utterance


def cut(name: str) -> Utterance:
    utterance = Utterance(name)
    utterance.push(np.ones(100, np.float32))
    utterance.cut()
    return utterance


def test_frames_of_an_earlier_epoch_are_stale_from_where_it_was_cut():
    interruption = Interruption()
    assert not interruption.is_stale(0, 99)
    interruption.begin(20, [], 0.0)
    interruption.begin(30, [], 1.0)
    assert interruption.epoch == 2
    assert [interruption.is_stale(0, number) for number in (19, 20, 30)] == [False, True, True]
    assert [interruption.is_stale(1, number) for number in (20, 29, 30)] == [False, False, True]
    assert not interruption.is_stale(2, 99)


def test_what_was_cut_can_be_taken_up_once():
    interruption = Interruption()
    interruption.begin(3, [cut("a"), cut("b")], 10.0)
    interruption.begin(9, [], 11.0)  # an interruption of nothing takes nothing away
    assert [utterance.name for utterance in interruption.rest(10.0 + MAX_RESUME_S)] == ["a", "b"]
    assert not interruption.rest(10.0)


def test_what_was_cut_is_gone_when_it_is_too_late_or_something_else_was_said():
    interruption = Interruption()
    interruption.begin(3, [cut("a")], 10.0)
    assert not interruption.rest(10.1 + MAX_RESUME_S)
    interruption.begin(3, [cut("a")], 20.0)
    interruption.forget()
    assert not interruption.rest(20.0)
