from __future__ import annotations

import pytest
import torch
from torch import Tensor

from avacast.kernels.overlap_fusion import fuse_overlap


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
