"""How the timestep steers a block: its embedding, and shift, scale and gate.

Knows the arithmetic, in float32 whatever the network is stored in, because a rounded timestep or scale shows in every
token at once. Knows nothing of attention or of what is being modulated.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avacast.engine.prepared import Prepared

BASE = 10_000.0


def sinusoid(timestep: Tensor, freq_dim: int) -> Tensor:
    """Embeds timesteps [B] as [B, freq_dim] float32: cosines, then sines. Computed in float64, as released."""
    half = freq_dim // 2
    exponent = torch.arange(half, dtype=torch.float64, device=timestep.device) / -half
    angle = timestep.to(torch.float64)[:, None] * BASE**exponent
    return torch.cat((angle.cos(), angle.sin()), dim=1).float()


class Float32Linear(nn.Linear):
    """A linear layer computed in float32 even where its weights are stored in less."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self._widened = Prepared[list[Tensor]]()

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # torch's name for it
        return F.linear(input, *self._wide())

    def _wide(self) -> list[Tensor]:
        """Weight and bias in float32, on a CPU kept from one pass to the next: widening costs more than the product."""
        parameters = [self.weight, self.bias]
        if self.weight.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return _widened(parameters)
        return _widened(parameters) if self.weight.is_inference() else self._widened.of(parameters, _widened)


def _widened(parameters: Sequence[Tensor]) -> list[Tensor]:
    return [parameter.float() for parameter in parameters]


def timestep_embedding(freq_dim: int, dim: int) -> nn.Sequential:
    """`time_embedding` of the public checkpoints: sinusoids [B, freq_dim] to [B, D] float32."""
    return nn.Sequential(Float32Linear(freq_dim, dim), nn.SiLU(), Float32Linear(dim, dim))


def timestep_projection(dim: int) -> nn.Sequential:
    """`time_projection` of the public checkpoints: [B, D] float32 to the blocks' six vectors [B, 6, D] float32."""
    return nn.Sequential(nn.SiLU(), Float32Linear(dim, 6 * dim), nn.Unflatten(1, (6, dim)))


def learned(num_vectors: int, dim: int) -> nn.Parameter:
    """A block's own modulation [1, num_vectors, D], added to the timestep's."""
    return nn.Parameter(torch.randn(1, num_vectors, dim) / dim**0.5)


def vectors(modulation: Tensor, timestep: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """A block's modulation [1, V, D] plus the timestep's [B, V, D] or [B, 1, D], as V vectors [B, 1, D] of `dtype`."""
    return (modulation.float() + timestep).to(dtype).split(1, dim=1)


def norm_modulate(norm: nn.LayerNorm, x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """`modulate` of `x` [B, N, D] after `norm`, which has no weights of its own."""
    if x.shape[0] > 1 or x.device.type != "cpu" or torch.compiler.is_compiling():
        return modulate(norm(x), shift, scale)
    # What steers one window can take the place of those weights.
    return F.layer_norm(x, norm.normalized_shape, (1 + scale).flatten(), shift.flatten(), norm.eps)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """`x * (1 + scale) + shift`; `x` [B, N, D], the others [B, 1, D]."""
    return torch.addcmul(shift, x, 1 + scale)
