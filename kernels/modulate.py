"""Layer norm with what stands around it in a transformer block: residual and gate before, shift and scale after.

Knows the arithmetic of one token. Does not know where shift, scale and gate come from.

Shapes: B batch, N tokens, D width; a vector that steers is [B, 1, D], or [1, 1, D] for every batch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from avacast.kernels.kernel import Kernel, Size, block_over, generator_on, launch, takes_kernel, warps_for

EPS = 1e-6


def norm_modulate(x: Tensor, shift: Tensor, scale: Tensor, eps: float = EPS) -> Tensor:
    """`norm(x) * (1 + scale) + shift`, [B, N, D]."""
    run = norm_modulate_fused if takes_kernel(x, shift, scale) else norm_modulate_reference
    return run(x, shift, scale, eps)


def norm_modulate_reference(x: Tensor, shift: Tensor, scale: Tensor, eps: float = EPS) -> Tensor:
    """`norm_modulate` in plain torch."""
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:], eps=eps), 1 + scale)


def norm_modulate_fused(x: Tensor, shift: Tensor, scale: Tensor, eps: float = EPS) -> Tensor:
    """`norm_modulate` in one kernel."""
    return _launch(x, None, None, shift, scale, eps, one_plus=True)[1]


def residual_norm_modulate(
    x: Tensor, branch: Tensor, shift: Tensor, scale: Tensor, eps: float = EPS
) -> tuple[Tensor, Tensor]:
    """`x + branch`, and that sum normed and modulated; both [B, N, D]. What follows an attention without a gate."""
    run = residual_norm_modulate_fused if takes_kernel(x, branch, shift, scale) else residual_norm_modulate_reference
    return run(x, branch, shift, scale, eps)


def residual_norm_modulate_reference(
    x: Tensor, branch: Tensor, shift: Tensor, scale: Tensor, eps: float = EPS
) -> tuple[Tensor, Tensor]:
    """`residual_norm_modulate` in plain torch."""
    x = x + branch
    return x, norm_modulate_reference(x, shift, scale, eps)


def residual_norm_modulate_fused(
    x: Tensor, branch: Tensor, shift: Tensor, scale: Tensor, eps: float = EPS
) -> tuple[Tensor, Tensor]:
    """`residual_norm_modulate` in one kernel."""
    return _launch(x, branch, None, shift, scale, eps, one_plus=True)


def gated_residual_norm(
    x: Tensor, branch: Tensor, gate: Tensor, weight: Tensor, bias: Tensor, eps: float = EPS
) -> tuple[Tensor, Tensor]:
    """`x + gate * branch`, and that sum in a layer norm with `weight` and `bias` [D]; both [B, N, D]."""
    run = gated_residual_norm_fused if takes_kernel(x, branch, gate, weight, bias) else gated_residual_norm_reference
    return run(x, branch, gate, weight, bias, eps)


def gated_residual_norm_reference(
    x: Tensor, branch: Tensor, gate: Tensor, weight: Tensor, bias: Tensor, eps: float = EPS
) -> tuple[Tensor, Tensor]:
    """`gated_residual_norm` in plain torch."""
    x = torch.addcmul(x, gate, branch)
    return x, F.layer_norm(x, x.shape[-1:], weight, bias, eps)


def gated_residual_norm_fused(
    x: Tensor, branch: Tensor, gate: Tensor, weight: Tensor, bias: Tensor, eps: float = EPS
) -> tuple[Tensor, Tensor]:
    """`gated_residual_norm` in one kernel."""
    return _launch(x, branch, gate, bias.view(1, 1, -1), weight.view(1, 1, -1), eps, one_plus=False)


def _launch(
    x: Tensor, branch: Tensor | None, gate: Tensor | None, shift: Tensor, scale: Tensor, eps: float, *, one_plus: bool
) -> tuple[Tensor, Tensor]:
    """The sum (`x` itself without a branch) and its norm; computed in float32, rounded when stored."""
    from avacast.kernels.modulate_triton import residual_norm_modulate_rows

    x = x.contiguous()
    batch, num_tokens, dim = x.shape
    branch = None if branch is None else branch.contiguous()
    assert branch is None or branch.shape == x.shape, (tuple(x.shape), tuple(branch.shape))
    total = x if branch is None else torch.empty_like(x)
    normed = torch.empty_like(x)
    shift, scale = _steering(shift, x), _steering(scale, x)
    gate = None if gate is None else _steering(gate, x)
    block = block_over(dim)
    launch(
        residual_norm_modulate_rows,
        (batch * num_tokens,),
        normed,
        total,
        x,
        branch,
        gate,
        shift,
        scale,
        0 if gate is None else gate.stride(0),
        shift.stride(0),
        scale.stride(0),
        num_tokens,
        dim,
        eps,
        ONE_PLUS=one_plus,
        BLOCK=block,
        num_warps=warps_for(block),
    )
    return total, normed


def _steering(vector: Tensor, x: Tensor) -> Tensor:
    """`vector` as [B, 1, D] with its channels side by side; a stride of 0 stands for one that all share."""
    vector = vector.expand(x.shape[0], 1, x.shape[2])
    return vector if vector.stride(2) == 1 else vector.contiguous()


def _tokens(size: Size, device: torch.device, dtype: torch.dtype, *lengths: int) -> tuple[Tensor, ...]:
    source = generator_on(device)
    return tuple(
        torch.randn(size.batch, length, size.dim, generator=source, device=device, dtype=dtype) for length in lengths
    )


def _norm_inputs(size: Size, device: torch.device, dtype: torch.dtype) -> tuple[Any, ...]:
    return _tokens(size, device, dtype, size.num_tokens, 1, 1)


def _residual_inputs(size: Size, device: torch.device, dtype: torch.dtype) -> tuple[Any, ...]:
    return _tokens(size, device, dtype, size.num_tokens, size.num_tokens, 1, 1)


def _gated_inputs(size: Size, device: torch.device, dtype: torch.dtype) -> tuple[Any, ...]:
    x, branch, gate = _tokens(size, device, dtype, size.num_tokens, size.num_tokens, 1)
    weight, bias = torch.randn(2, size.dim, generator=generator_on(device), device=device, dtype=dtype)
    return x, branch, gate, weight, bias


KERNELS = (
    Kernel("norm_modulate", norm_modulate_reference, norm_modulate_fused, _norm_inputs),
    Kernel("residual_norm_modulate", residual_norm_modulate_reference, residual_norm_modulate_fused, _residual_inputs),
    Kernel("gated_residual_norm", gated_residual_norm_reference, gated_residual_norm_fused, _gated_inputs),
)
