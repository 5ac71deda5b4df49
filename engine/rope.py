"""Rotary position embedding over time, height and width, in real arithmetic.

Knows the tables and how a pair of channels is turned by them. Knows nothing of attention.

Source: Su et al., RoFormer (arXiv 2104.09864); the split of a head among the three axes is Wan 2.1's: a head of width d
gives d - 4 (d // 6) channels to time and 2 (d // 6) to height and to width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

MAX_POSITIONS = 1024
"""Length of the tables: the longest grid side in patches."""

BASE = 10_000.0


class Rotation(NamedTuple):
    """Cosines and signed sines for every token of a grid, each [N, d] float32 (pairs repeated, even sines negated)."""

    cos: Tensor
    sin: Tensor


def rotate(x: Tensor, rotation: Rotation, num_heads: int) -> Tensor:
    """Turns each interleaved channel pair of every head of [B, N, D] by its token's angle; keeps shape and dtype."""
    heads = x.unflatten(2, (num_heads, -1))
    swapped = heads.unflatten(-1, (-1, 2)).roll(1, -1).flatten(-2)
    turned = heads * rotation.cos[:, None] + swapped * rotation.sin[:, None]
    return turned.to(x.dtype).flatten(2)


def norm_rotate_joined(
    joined: Tensor, norm_q: nn.RMSNorm, norm_k: nn.RMSNorm, rotation: Rotation, num_heads: int
) -> tuple[Tensor, Tensor]:
    """Queries and keys normed, turned and split into heads, [B, H, N, d] each, both in the same operations.

    `joined` [B, N, 2*D or more] starts with both of them, and is written to. Computed in float32 and rounded once.
    """
    dim, eps = norm_q.weight.shape[0], norm_q.eps
    assert eps is not None, "the norm of queries and keys says what it adds"
    both = joined[..., : 2 * dim].unflatten(2, (2, dim)).float()
    square_norm = torch.linalg.vector_norm(both, dim=-1, keepdim=True).square_()
    both.mul_(square_norm.div_(dim).add_(eps).rsqrt_())
    both.mul_(torch.stack((norm_q.weight, norm_k.weight)))
    pairs = torch.view_as_complex(both.unflatten(3, (num_heads, -1, 2)))
    # A pair of channels is a complex number; the tables hold each angle twice.
    pairs.mul_(torch.complex(rotation.cos[:, ::2], rotation.sin[:, 1::2])[:, None, None])
    turned = torch.view_as_real(pairs).flatten(-2).to(joined.dtype)
    query, key = turned.permute(2, 0, 3, 1, 4)
    return query, key


class RotaryEmbedding(nn.Module):
    """The tables of one head width; calling it gives the `Rotation` of an F x H x W grid in f, h, w order."""

    cos: Tensor
    sin: Tensor

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        spatial = 2 * (head_dim // 6)
        self.axis_dims = (head_dim - 2 * spatial, spatial, spatial)
        cos, sin = _tables(self.axis_dims)
        # The public checkpoints do not carry the tables.
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, num_frames: int, height: int, width: int) -> Rotation:
        grid = (num_frames, height, width)
        return Rotation(self._over_grid(self.cos, grid), self._over_grid(self.sin, grid))

    def _over_grid(self, table: Tensor, grid: tuple[int, int, int]) -> Tensor:
        frames, height, width = grid
        time, vertical, horizontal = table.split(self.axis_dims, dim=1)
        parts = (
            time[:frames, None, None].expand(frames, height, width, -1),
            vertical[None, :height, None].expand(frames, height, width, -1),
            horizontal[None, None, :width].expand(frames, height, width, -1),
        )
        return torch.cat(parts, dim=-1).flatten(0, 2)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # Casting the network to bfloat16 must move the tables but never round them.
        super()._apply(fn, recurse)
        device = self.cos.device
        self.cos, self.sin = (table.to(device) for table in _tables(self.axis_dims))
        return self


def _tables(axis_dims: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Cosine and signed sine tables [MAX_POSITIONS, d], computed in float64, stored in float32."""
    # The device is named so that a network built on the meta device still owns real tables.
    real: dict[str, Any] = {"dtype": torch.float64, "device": "cpu"}
    position = torch.arange(MAX_POSITIONS, **real)
    frequency = [BASE ** -(torch.arange(0, dim, 2, **real) / dim) for dim in axis_dims]
    angle = torch.outer(position, torch.cat(frequency))
    cos, sin = angle.cos(), angle.sin()
    return cos.repeat_interleave(2, dim=1).float(), torch.stack((-sin, sin), dim=-1).flatten(1).float()
