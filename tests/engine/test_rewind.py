from __future__ import annotations

from dataclasses import dataclass

import pytest

from avacast.engine.rewind import MAX_POINTS, Rewind


@dataclass(frozen=True)
class Point:
    num_frames_shown: int


def rewind_of(*frames: int) -> Rewind[Point]:
    rewind = Rewind(Point(frames[0]))
    for frame in frames[1:]:
        rewind.add(Point(frame))
    return rewind


@pytest.mark.parametrize(("frame", "point"), [(0, 0), (3, 0), (4, 4), (11, 8), (12, 12), (99, 12)])
def test_goes_back_to_the_last_point_at_or_before_a_frame(frame: int, point: int):
    assert rewind_of(0, 4, 8, 12).back_to(frame) == Point(point)


def test_what_came_after_the_point_is_forgotten():
    """So that the stream goes on from there, and a second way back leads no further than the first."""
    rewind = rewind_of(0, 4, 8, 12)
    rewind.back_to(5)
    assert rewind.back_to(99) == Point(4)
    rewind.add(Point(8))
    assert rewind.back_to(8) == Point(8)


def test_what_the_viewer_has_seen_is_let_go_but_for_the_last_point_before_it():
    rewind = rewind_of(0, 4, 8, 12)
    rewind.forget(9)
    assert rewind.back_to(0) == Point(8)


def test_the_oldest_point_goes_when_there_are_too_many():
    rewind = rewind_of(*range(MAX_POINTS + 3))
    assert rewind.back_to(0) == Point(3)


def test_states_follow_each_other():
    with pytest.raises(AssertionError):
        rewind_of(4, 4)
