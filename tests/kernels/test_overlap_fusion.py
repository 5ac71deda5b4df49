from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from avacast.kernels.overlap_fusion import (
    fuse_into_ring,
    fuse_into_ring_fused,
    fuse_into_ring_reference,
    fuse_overlap,
    fuse_overlap_fused,
)


def window(num_frames: int, seed: int) -> Tensor:
    return torch.randn(2, 3, num_frames, 4, 5, generator=torch.Generator().manual_seed(seed))


def test_blends_every_overlapped_frame_by_its_own_weight():
    new, previous, weights = window(6, 0), window(3, 1), torch.tensor([0.1, 0.5, 0.8])
    fused = fuse_overlap(new, previous, weights)
    for j, w in enumerate([0.1, 0.5, 0.8]):
        expected = w * new[:, :, j].double() + (1 - w) * previous[:, :, j].double()
        torch.testing.assert_close(fused[:, :, j].double(), expected, rtol=1e-6, atol=1e-6)
    assert torch.equal(fused[:, :, 3:], new[:, :, 3:])


def test_weight_zero_keeps_the_previous_frame_and_weight_one_the_new_one_exactly():
    new, previous = window(4, 2), window(2, 3)
    fused = fuse_overlap(new, previous, torch.tensor([0.0, 1.0]))
    assert torch.equal(fused[:, :, 0], previous[:, :, 0])
    assert torch.equal(fused[:, :, 1], new[:, :, 1])


def test_no_overlap_leaves_the_window_as_it_is():
    new = window(4, 4)
    assert torch.equal(fuse_overlap(new, new[:, :, :0], torch.zeros(0)), new)


def test_writes_to_neither_input():
    new, previous = window(5, 5), window(2, 6)
    before = new.clone(), previous.clone()
    fuse_overlap(new, previous, torch.tensor([0.3, 0.6])).zero_()
    assert torch.equal(new, before[0])
    assert torch.equal(previous, before[1])


def test_refuses_a_tail_of_another_length_than_the_weights():
    with pytest.raises(AssertionError, match="3 previous frames for 2 weights"):
        fuse_overlap(window(5, 7), window(3, 8), torch.tensor([0.3, 0.6]))


def test_refuses_a_window_shorter_than_the_overlap():
    with pytest.raises(AssertionError, match="window of 1 frames"):
        fuse_overlap(window(1, 9), window(2, 10), torch.tensor([0.3, 0.6]))


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize(
    ("shape", "overlap"), [((1, 1, 1, 1, 1), 1), ((2, 3, 4, 5, 7), 3), ((1, 2, 3, 33, 35), 2), ((1, 2, 2, 4, 4), 0)]
)
def test_the_kernel_blends_windows_of_any_size(shape: tuple[int, ...], overlap: int, agree: Callable[..., None]):
    """One cell, frames below and beyond a block, none of them a multiple of it, and no overlap."""
    source = torch.Generator().manual_seed(0)
    new = torch.randn(shape, generator=source)
    previous = torch.randn(*shape[:2], overlap, *shape[3:], generator=source)
    weights = torch.rand(overlap, generator=source)
    agree(fuse_overlap_fused(new, previous, weights), fuse_overlap(new, previous, weights))


@pytest.mark.usefixtures("interpreted")
def test_the_kernel_reads_windows_where_they_lie():
    """A slice of a longer line, and even turned pictures; weights 0 and 1 give either side exactly."""
    line, weights = window(9, 10), torch.tensor([0.0, 1.0])
    new, previous = line[:, :, 3:7], line[:, :, 1:3]
    fused = fuse_overlap_fused(new, previous, weights)
    assert torch.equal(fused, torch.cat((previous[:, :, :1], new[:, :, 1:]), dim=2))
    turned = fuse_overlap_fused(new.transpose(3, 4), previous.transpose(3, 4), weights)
    assert torch.equal(turned, fused.transpose(3, 4))


def test_a_ring_and_a_line_of_windows_hold_the_same():
    """Windows of five frames that overlap by two, laid down in a ring of seven slots that turns over."""
    weights, hop = torch.tensor([0.25, 0.75]), 3
    ring = torch.zeros_like(window(7, 0))
    tail = None
    for index in range(4):
        new = window(5, 20 + index)
        expected = new if tail is None else fuse_overlap(new, tail, weights)
        start = torch.tensor(index * hop)
        fused, ring = fuse_into_ring(new, ring, start, torch.ones(2) if tail is None else weights)
        assert torch.equal(fused, expected)
        slots = (start + torch.arange(5)) % 7
        assert torch.equal(ring[:, :, slots], expected)
        tail = expected[:, :, -2:]


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize(("start", "num_slots"), [(0, 4), (5, 6), (1_000_003, 11)])
def test_the_kernel_turns_over_where_the_ring_does(start: int, num_slots: int, agree: Callable[..., None]):
    """Also where the window fills the ring; slots beside it stay as they are."""
    weights, begin = torch.tensor([0.2, 0.5, 0.9]), torch.tensor(start)
    ring = window(num_slots, 30)
    expected = fuse_into_ring_reference(window(4, 31), ring.clone(), begin, weights)
    actual = fuse_into_ring_fused(window(4, 31), ring.clone(), begin, weights)
    for one, other in zip(actual, expected, strict=True):
        agree(one, other)
    untouched = [slot for slot in range(num_slots) if slot not in {(start + frame) % num_slots for frame in range(4)}]
    assert torch.equal(actual[1][:, :, untouched], ring[:, :, untouched])


def test_a_ring_refuses_a_window_that_would_meet_itself():
    with pytest.raises(AssertionError, match="window of 5 frames in 4 slots"):
        fuse_into_ring(window(5, 0), window(4, 0), torch.tensor(0), torch.ones(2))
