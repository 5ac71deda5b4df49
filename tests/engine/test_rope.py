"""Rotary positions in real arithmetic."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from avacast.engine.rope import BASE, RotaryEmbedding, norm_rotate_joined, rotate

HEAD_DIM, NUM_HEADS = 20, 2
GRID = (3, 4, 5)


def test_the_rotation_is_the_complex_product():
    """Each interleaved pair, taken as a complex number, is turned by its axis' position times its frequency."""
    spatial = 2 * (HEAD_DIM // 6)
    axes = torch.cartesian_prod(*(torch.arange(side, dtype=torch.float64) for side in GRID))
    angles = [
        position[:, None] * BASE ** -(torch.arange(0, dim, 2, dtype=torch.float64) / dim)
        for position, dim in zip(axes.unbind(1), (HEAD_DIM - 2 * spatial, spatial, spatial), strict=True)
    ]
    turn = torch.polar(torch.ones(()).double(), torch.cat(angles, dim=1))
    x = torch.randn(2, len(axes), NUM_HEADS * HEAD_DIM)
    pairs = torch.view_as_complex(x.double().unflatten(2, (NUM_HEADS, -1, 2)))
    expected = torch.view_as_real(pairs * turn[:, None]).flatten(2)
    torch.testing.assert_close(rotate(x, RotaryEmbedding(HEAD_DIM)(*GRID), NUM_HEADS), expected.float())


def test_products_depend_on_the_distance_alone():
    """Query and key moved together keep their product, so a window's place in the video does not matter."""
    rotation = RotaryEmbedding(HEAD_DIM)(8, 1, 1)
    query, key = (torch.randn(1, 1, HEAD_DIM).expand(1, 8, -1) for _ in range(2))
    products = rotate(query, rotation, 1)[0] @ rotate(key, rotation, 1)[0].T
    torch.testing.assert_close(products[:-1, :-1], products[1:, 1:], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_queries_and_keys_are_normed_and_turned_together(dtype: torch.dtype, tolerance: float):
    """Taken from one product they are what norm and rotation make of each by itself, split into heads."""
    torch.manual_seed(0)
    dim, rotation = NUM_HEADS * HEAD_DIM, RotaryEmbedding(HEAD_DIM)(*GRID)
    norms = [nn.RMSNorm(dim, 1e-6).requires_grad_(False) for _ in range(2)]
    for norm in norms:
        norm.weight.uniform_(0.5, 2)
        norm.to(dtype)
    joined = torch.randn(2, len(rotation.cos), 3 * dim).to(dtype)
    parts = joined.clone().split(dim, dim=2)
    together = norm_rotate_joined(joined, norms[0], norms[1], rotation, NUM_HEADS)
    for norm, part, actual in zip(norms, parts, together, strict=False):
        expected = rotate(norm(part), rotation, NUM_HEADS).unflatten(2, (NUM_HEADS, -1)).transpose(1, 2)
        torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)
