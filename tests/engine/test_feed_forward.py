"""The activation in both of its forms."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from avacast.engine.feed_forward import TanhGELU


def test_float32_takes_the_released_approximation():
    """In float32 the activation is the tanh approximation, exactly."""
    x = torch.linspace(-6, 6, 1001)
    assert torch.equal(TanhGELU()(x), F.gelu(x, approximate="tanh"))


def test_bfloat16_stays_within_its_rounding():
    """In bfloat16 the exact form differs from the approximation by no more than 5e-4 and one rounding."""
    x = torch.linspace(-6, 6, 1001).bfloat16()
    expected = F.gelu(x.float(), approximate="tanh")
    difference = (TanhGELU()(x).float() - expected).abs()
    assert (difference <= 5e-4 + expected.abs() * 2**-8).all()
