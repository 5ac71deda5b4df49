from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from avacast.engine.modulation import modulate, vectors
from avacast.kernels.modulate import (
    gated_residual_norm,
    gated_residual_norm_fused,
    norm_modulate,
    norm_modulate_fused,
    residual_norm_modulate,
    residual_norm_modulate_fused,
)

SHAPES = [(1, 1, 1), (2, 3, 7), (1, 2, 256), (2, 2, 1536)]
"""Widths of one, below a block, a whole block, and the released model's, three quarters of one."""

EPS = 1e-6


def tokens(*shape: int, seed: int) -> Tensor:
    # Away from zero and from one, so that a forgotten mean or variance shows.
    return 3 * torch.randn(shape, generator=torch.Generator().manual_seed(seed)) + 2


def steering(batch: int, dim: int) -> tuple[Tensor, ...]:
    """Six vectors as a block makes them: views of one tensor, so that batches lie six widths apart."""
    return vectors(tokens(1, 6, dim, seed=8) / 6, tokens(batch, 6, dim, seed=9) / 6, torch.float32)


def test_the_references_are_the_blocks_own_arithmetic():
    """Norm and modulation, residual with and without a gate, with the engine's layers."""
    x, branch = tokens(2, 5, 12, seed=0), tokens(2, 5, 12, seed=1)
    shift, scale, gate, *_ = steering(2, 12)
    plain, affine = nn.LayerNorm(12, EPS, elementwise_affine=False), nn.LayerNorm(12, EPS)
    nn.init.normal_(affine.weight)
    nn.init.normal_(affine.bias)
    with torch.no_grad():
        assert torch.equal(norm_modulate(x, shift, scale, EPS), modulate(plain(x), shift, scale))
        total, normed = residual_norm_modulate(x, branch, shift, scale, EPS)
        assert torch.equal(total, x + branch)
        assert torch.equal(normed, modulate(plain(x + branch), shift, scale))
        total, normed = gated_residual_norm(x, branch, gate, affine.weight, affine.bias, EPS)
        assert torch.equal(total, torch.addcmul(x, gate, branch))
        assert torch.equal(normed, affine(total))


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize("shape", SHAPES)
def test_the_kernel_norms_and_modulates_any_width(shape: tuple[int, int, int], agree: Callable[..., None]):
    x = tokens(*shape, seed=2)
    shift, scale, *_ = steering(shape[0], shape[2])
    agree(norm_modulate_fused(x, shift, scale, EPS), norm_modulate(x, shift, scale, EPS))


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize("shape", SHAPES)
def test_the_kernel_adds_a_branch_first(shape: tuple[int, int, int], agree: Callable[..., None]):
    x, branch = tokens(*shape, seed=3), tokens(*shape, seed=4)
    shift, scale, *_ = steering(shape[0], shape[2])
    expected = residual_norm_modulate(x, branch, shift, scale, EPS)
    for one, other in zip(residual_norm_modulate_fused(x, branch, shift, scale, EPS), expected, strict=True):
        agree(one, other)


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize("shape", SHAPES)
def test_the_kernel_gates_the_branch(shape: tuple[int, int, int], agree: Callable[..., None]):
    x, branch = tokens(*shape, seed=5), tokens(*shape, seed=6)
    gate = steering(shape[0], shape[2])[2]
    weight, bias = tokens(2, shape[2], seed=7)
    expected = gated_residual_norm(x, branch, gate, weight, bias, EPS)
    for one, other in zip(gated_residual_norm_fused(x, branch, gate, weight, bias, EPS), expected, strict=True):
        agree(one, other, largest=2e-5, mean=1e-6)


@pytest.mark.usefixtures("interpreted")
def test_one_vector_may_steer_every_batch(agree: Callable[..., None]):
    x = tokens(3, 2, 20, seed=10)
    shift, scale = tokens(2, 1, 1, 20, seed=11)
    agree(norm_modulate_fused(x, shift, scale), norm_modulate(x, shift, scale), largest=2e-5, mean=1e-6)


@pytest.mark.usefixtures("interpreted")
def test_the_norm_is_that_of_the_sum_as_it_was_rounded():
    """In bfloat16 the residual stream and its norm must not drift apart."""
    x, branch = tokens(1, 2, 64, seed=12).bfloat16(), tokens(1, 2, 64, seed=13).bfloat16()
    shift, scale = torch.zeros(2, 1, 1, 64, dtype=torch.bfloat16)
    total, normed = residual_norm_modulate_fused(x, branch, shift, scale)
    assert torch.equal(normed, norm_modulate_fused(total, shift, scale))


def test_a_branch_of_another_shape_is_refused():
    with pytest.raises(AssertionError, match=r"\(1, 2, 8\), \(1, 3, 8\)"):
        residual_norm_modulate_fused(
            torch.zeros(1, 2, 8), torch.zeros(1, 3, 8), torch.zeros(1, 1, 8), torch.zeros(1, 1, 8)
        )
