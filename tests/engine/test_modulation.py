"""The timestep's arithmetic."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from avacast.engine.modulation import Float32Linear, modulate, norm_modulate


@pytest.mark.parametrize("batch", [1, 3])
def test_norm_and_modulation_together_are_the_two_in_turn(batch: int):
    """Whether one window or several: `norm_modulate` is `modulate` after the norm."""
    norm = nn.LayerNorm(16, 1e-6, elementwise_affine=False)
    x, shift, scale = torch.randn(batch, 10, 16), torch.randn(batch, 1, 16), torch.randn(batch, 1, 16)
    assert torch.allclose(norm_modulate(norm, x, shift, scale), modulate(norm(x), shift, scale), atol=1e-5)


def test_gradients_pass_through_norm_and_modulation():
    """What steers a single window is trained as in a batch."""
    norm, x = nn.LayerNorm(16, 1e-6, elementwise_affine=False), torch.randn(1, 10, 16)
    shift, scale = (torch.randn(1, 1, 16, requires_grad=True) for _ in range(2))
    weight = torch.randn(1, 10, 16)
    together = torch.autograd.grad((weight * norm_modulate(norm, x, shift, scale)).sum(), (shift, scale))
    apart = torch.autograd.grad((weight * modulate(norm(x), shift, scale)).sum(), (shift, scale))
    for actual, expected in zip(together, apart, strict=True):
        assert torch.allclose(actual, expected, atol=1e-4)


def test_a_layer_in_float32_follows_its_stored_weights():
    """Stored in bfloat16, computed in float32; weights that change are seen by the next call."""
    layer, x = Float32Linear(8, 4).bfloat16(), torch.randn(2, 8)
    with torch.inference_mode():
        first = layer(x)
        assert first.dtype == torch.float32
        assert torch.equal(first, nn.functional.linear(x, layer.weight.float(), layer.bias.float()))
    with torch.no_grad():
        layer.weight.mul_(2)
        layer.bias.mul_(2)
    with torch.inference_mode():
        assert torch.equal(layer(x), 2 * first)
