"""Rotary positions in real arithmetic."""

from __future__ import annotations

import torch

from avacast.engine.rope import BASE, RotaryEmbedding, rotate

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
