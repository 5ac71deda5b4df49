from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import Tensor

from avacast.engine.offload import Move, Offload
from avacast.engine.rewind import MAX_POINTS, Rewind

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Point:
    num_frames_shown: int
    latents: Tensor = field(compare=False)

    shared: Tensor | None = field(default=None, compare=False)
    """What several points keep together."""

    @property
    def tensors(self) -> list[Tensor]:
        return [self.latents] if self.shared is None else [self.latents, self.shared]

    def moved(self, move: Move) -> Point:
        return replace(self, latents=move(self.latents))


def point(frame: int) -> Point:
    return Point(frame, torch.full((2, 3), float(frame)))


def rewind_of(*frames: int, offload: Offload | None = None) -> Rewind[Point]:
    rewind = Rewind(point(frames[0]), offload or Offload(CPU))
    for frame in frames[1:]:
        rewind.add(point(frame))
    return rewind


@pytest.mark.parametrize(("frame", "found"), [(0, 0), (3, 0), (4, 4), (11, 8), (12, 12), (99, 12)])
def test_goes_back_to_the_last_point_at_or_before_a_frame(frame: int, found: int):
    assert rewind_of(0, 4, 8, 12).back_to(frame) == point(found)


def test_what_came_after_the_point_is_forgotten():
    """So that the stream goes on from there, and a second way back leads no further than the first."""
    rewind = rewind_of(0, 4, 8, 12)
    rewind.back_to(5)
    assert rewind.back_to(99) == point(4)
    rewind.add(point(8))
    assert rewind.back_to(8) == point(8)


def test_what_the_viewer_has_seen_is_let_go_but_for_the_last_point_before_it():
    rewind = rewind_of(0, 4, 8, 12)
    rewind.forget(9)
    assert rewind.back_to(0) == point(8)


def test_the_oldest_point_goes_when_there_are_too_many():
    rewind = rewind_of(*range(MAX_POINTS + 3))
    assert rewind.back_to(0) == point(3)


def test_the_oldest_point_goes_when_they_take_too_much_memory():
    """Each takes 24 bytes. To go back further leads to the oldest that is left, and a new one finds room again."""
    rewind = Rewind(point(0), Offload(CPU), max_bytes=3 * 24)
    for frame in (4, 8, 12):
        rewind.add(point(frame))
    assert rewind.num_bytes == 3 * 24
    assert rewind.back_to(8) == point(8)
    assert rewind.back_to(0) == point(4)
    rewind.add(point(8))
    assert rewind.back_to(8) == point(8)


def test_the_newest_point_stays_however_large():
    rewind = Rewind(point(0), Offload(CPU), max_bytes=1)
    for frame in (4, 8):
        rewind.add(point(frame))
    assert rewind.num_bytes == 24
    assert rewind.back_to(0) == point(8)


def test_what_points_share_is_counted_once_and_goes_with_the_last_of_them():
    """A large state that three points share takes its memory until all three have gone."""
    large = [torch.zeros(1000) for _ in range(3)]
    rewind = Rewind(point(0), Offload(CPU), max_bytes=2 * 4000 + 6 * 24)
    for number in range(9):
        rewind.add(replace(point(4 * number + 1), shared=large[number // 3]))
    assert rewind.num_bytes == 2 * 4000 + 6 * 24
    assert rewind.back_to(0).num_frames_shown == 4 * 3 + 1


def test_on_the_host_what_is_pinned_is_counted_as_it_is_handed_out():
    """In powers of two: 24 bytes take 32."""
    assert rewind_of(0, 4, offload=Offload(CPU, copies=True)).num_bytes == 2 * 32


def test_states_follow_each_other():
    with pytest.raises(AssertionError):
        rewind_of(4, 4)


def test_what_is_kept_is_a_copy_where_states_leave_the_device():
    """The tensors of the state that was given are not held, and each way back has its own again, with their values."""
    given = point(4)
    rewind = rewind_of(0, offload=Offload(CPU, copies=True))
    rewind.add(given)
    back = [rewind.back_to(4) for _ in range(2)]
    assert len({state.latents.data_ptr() for state in (given, *back)}) == 3
    assert all(torch.equal(state.latents, given.latents) for state in back)


def test_on_a_cpu_states_are_shared():
    given = point(4)
    rewind = rewind_of(0)
    rewind.add(given)
    assert rewind.back_to(4).latents is given.latents
