"""The activation in both of its forms."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from avacast.engine.feed_forward import FeedForward, TanhGELU


def test_float32_takes_the_released_approximation():
    """In float32 the activation is the tanh approximation: exactly in training, up to rounding without gradients."""
    x = torch.linspace(-60, 60, 10_001)
    expected = F.gelu(x, approximate="tanh")
    assert torch.equal(TanhGELU()(x), expected)
    with torch.no_grad():
        assert ((TanhGELU()(x) - expected).abs() <= 1e-6 + 1e-6 * expected.abs()).all()


def test_bfloat16_stays_within_its_rounding():
    """In bfloat16 the exact form differs from the approximation by no more than 5e-4 and one rounding."""
    x = torch.linspace(-6, 6, 1001).bfloat16()
    expected = F.gelu(x.float(), approximate="tanh")
    difference = (TanhGELU()(x).float() - expected).abs()
    assert (difference <= 5e-4 + expected.abs() * 2**-8).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_inference_gives_what_training_gives(dtype: torch.dtype):
    """Products laid out for inference change a result by no more than rounding."""
    torch.manual_seed(0)
    network, x = FeedForward(32, 64, 16).to(dtype), torch.randn(2, 20, 32).to(dtype)
    trained = network(x).detach()
    with torch.inference_mode():
        difference = (network(x) - trained).abs().max()
    assert difference <= (1e-5 if dtype == torch.float32 else 2e-2) * trained.abs().max()
