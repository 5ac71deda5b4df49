"""The feed-forward network of a transformer block.

Knows two linear layers and the activation between them; knows nothing of norms, gates or residuals.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avacast.engine.products import Products, through


class TanhGELU(nn.Module):
    """GELU in its tanh approximation, as released.

    In bfloat16 on a CPU the exact form is taken: it is five times faster there, and the two differ by less than 5e-4,
    which is below that format's rounding.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or torch.compiler.is_compiling():
            return F.gelu(x, approximate="tanh")
        if x.dtype == torch.bfloat16:
            return F.gelu(x)
        return F.gelu(x, approximate="tanh") if torch.is_grad_enabled() else _by_sigmoid(x)


def _by_sigmoid(x: Tensor) -> Tensor:
    """`x / 2 * (1 + tanh(z))` as `x * sigmoid(2 z)`: the same, in half the time of PyTorch's on a CPU."""
    twice = 2 * math.sqrt(2 / math.pi)
    return x.square().mul_(0.044715 * twice).add_(twice).mul_(x).sigmoid_().mul_(x)


class FeedForward(nn.Sequential):
    """Linear, GELU, Linear, with the public checkpoints' names `0` and `2`."""

    def __init__(self, in_dim: int, hidden_dim: int, out_dim: int) -> None:
        first, activation, last = nn.Linear(in_dim, hidden_dim), TanhGELU(), nn.Linear(hidden_dim, out_dim)
        super().__init__(first, activation, last)
        self._widen, self._narrow = Products(first), Products(last)
        self._widen_and_bend = Products(first, activation="gelu")

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # torch's name for it
        first, activation, last = self
        hidden = self._widen_and_bend(input) if input.dtype == torch.bfloat16 else None
        if hidden is None:
            hidden = activation(through(self._widen, first, input))
        return through(self._narrow, last, hidden)
