from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from avacast.engine.rope import RotaryEmbedding, Rotation, rotate
from avacast.kernels.rope import norm_rotate, norm_rotate_fused

EPS = 1e-6


def inputs(batch: int, num_tokens: int, num_heads: int, head_dim: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Queries, keys and the weights of their norms."""
    source = torch.Generator().manual_seed(num_tokens)
    dim = num_heads * head_dim
    query, key = torch.randn(2, batch, num_tokens, dim, generator=source)
    query_weight, key_weight = torch.randn(2, dim, generator=source)
    return query, key, query_weight, key_weight


def engines(x: Tensor, weight: Tensor, rotation: Rotation, num_heads: int) -> Tensor:
    norm = nn.RMSNorm(x.shape[2], EPS)
    with torch.no_grad():
        norm.weight.copy_(weight)
        return rotate(norm(x), rotation, num_heads)


@pytest.mark.parametrize(("num_heads", "head_dim"), [(12, 128), (8, 32), (3, 14)])
def test_the_reference_is_the_engines_norm_and_rotation(num_heads: int, head_dim: int):
    query, key, query_weight, key_weight = inputs(2, 12, num_heads, head_dim)
    rotation = RotaryEmbedding(head_dim)(2, 3, 2)
    actual = norm_rotate(query, key, query_weight, key_weight, *rotation, EPS)
    assert torch.equal(actual[0], engines(query, query_weight, rotation, num_heads))
    assert torch.equal(actual[1], engines(key, key_weight, rotation, num_heads))


def test_a_pair_of_neighbours_is_one_complex_number():
    """The published form: channels 2i and 2i+1 are real and imaginary part, times e to the i angle."""
    query, key, *_ = inputs(1, 12, 2, 14)
    cos, sin = RotaryEmbedding(14)(2, 3, 2)
    turn = torch.complex(cos[:, 0::2], sin[:, 1::2])
    turned, _ = norm_rotate(query, key, torch.ones(28), torch.ones(28), cos, sin, EPS)
    normed = query * query.square().mean(-1, keepdim=True).add(EPS).rsqrt()
    expected = torch.view_as_complex(normed.unflatten(2, (2, 7, 2))) * turn[:, None]
    torch.testing.assert_close(turned, torch.view_as_real(expected).flatten(2), rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize(
    ("grid", "num_heads", "head_dim"),
    [((1, 1, 1), 1, 6), ((2, 1, 3), 3, 14), ((1, 2, 2), 2, 128), ((1, 1, 2), 12, 128)],
)
def test_the_kernel_turns_heads_of_any_width(
    grid: tuple[int, int, int], num_heads: int, head_dim: int, agree: Callable[..., None]
):
    """Widths that are no power of two, one that is, and the released model's."""
    query, key, *weights = inputs(2, grid[0] * grid[1] * grid[2], num_heads, head_dim)
    rotation = RotaryEmbedding(head_dim)(*grid)
    expected = norm_rotate(query, key, *weights, *rotation, EPS)
    for one, other in zip(norm_rotate_fused(query, key, *weights, *rotation, EPS), expected, strict=True):
        agree(one, other)


@pytest.mark.usefixtures("interpreted")
def test_queries_and_keys_may_be_slices_of_one_product(agree: Callable[..., None]):
    """Rows of the joint projection [B, N, 3 D] lie three widths apart."""
    _, _, *weights = inputs(2, 4, 2, 6)
    joint = torch.randn(2, 4, 36, generator=torch.Generator().manual_seed(1))
    query, key, _ = joint.chunk(3, dim=2)
    rotation = RotaryEmbedding(6)(1, 2, 2)
    expected = norm_rotate(query, key, *weights, *rotation)
    for one, other in zip(norm_rotate_fused(query, key, *weights, *rotation), expected, strict=True):
        agree(one, other)


def test_a_table_of_another_length_is_refused():
    query, key, *weights = inputs(1, 4, 2, 6)
    with pytest.raises(AssertionError, match="6 places for 4 tokens"):
        norm_rotate_fused(query, key, *weights, *RotaryEmbedding(6)(1, 2, 3))
