from __future__ import annotations

import pytest
import torch

from avacast.kernels.kernel import Size, block_over, num_blocks, takes_kernel, warps_for


def test_a_size_counts_the_patch_tokens_of_a_window():
    """512x512 is 64x64 latent cells, 32x32 patches; 9 latent frames of them."""
    assert Size().latent_size == (64, 64)
    assert Size().num_tokens == 9 * 32 * 32


def test_tensors_on_the_cpu_take_the_reference():
    assert not takes_kernel(torch.zeros(1), torch.zeros(1))


@pytest.mark.parametrize(("width", "block"), [(1, 1), (2, 2), (3, 4), (96, 128), (1536, 2048), (2048, 2048)])
def test_a_block_is_the_smallest_power_of_two_that_holds_the_width(width: int, block: int):
    assert block_over(width) == block


def test_blocks_cover_a_length_to_its_last_value():
    assert [num_blocks(length, 4) for length in (1, 4, 5, 8, 9)] == [1, 1, 2, 2, 3]


def test_wide_blocks_have_more_warps_up_to_eight():
    assert [warps_for(block) for block in (16, 512, 1024, 2048, 4096, 65536)] == [1, 1, 2, 4, 8, 8]
