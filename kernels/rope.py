"""Norm and rotary positions of queries and keys, in one pass over both.

Knows the arithmetic: a root-mean-square norm over the whole width, then each interleaved channel pair of a head turned
by its token's angle. Does not know grids, tables or attention.

Shapes: B batch, N tokens, D width, d width of a head.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from avacast.kernels.kernel import Kernel, Size, block_over, generator_on, launch, takes_kernel, warps_for

EPS = 1e-6


def norm_rotate(
    query: Tensor,
    key: Tensor,
    query_weight: Tensor,
    key_weight: Tensor,
    cos: Tensor,
    sin: Tensor,
    eps: float = EPS,
) -> tuple[Tensor, Tensor]:
    """Queries and keys, normed and turned.

    Args:
        query: [B, N, D].
        key: [B, N, D].
        query_weight: of the norm, [D].
        key_weight: of the norm, [D].
        cos: [N, d] float32, each cosine twice, for both channels of its pair.
        sin: [N, d] float32, each sine twice, negated for the first channel of its pair.
        eps: added to the mean square.

    Returns:
        Query and key, [B, N, D] and contiguous.
    """
    run = norm_rotate_fused if takes_kernel(query, key, query_weight, key_weight) else norm_rotate_reference
    return run(query, key, query_weight, key_weight, cos, sin, eps)


def norm_rotate_reference(
    query: Tensor,
    key: Tensor,
    query_weight: Tensor,
    key_weight: Tensor,
    cos: Tensor,
    sin: Tensor,
    eps: float = EPS,
) -> tuple[Tensor, Tensor]:
    """`norm_rotate` in plain torch."""
    normed = (
        F.rms_norm(query, query.shape[-1:], query_weight, eps),
        F.rms_norm(key, key.shape[-1:], key_weight, eps),
    )
    turned_query, turned_key = (_turned(x, cos, sin) for x in normed)
    return turned_query, turned_key


def norm_rotate_fused(
    query: Tensor,
    key: Tensor,
    query_weight: Tensor,
    key_weight: Tensor,
    cos: Tensor,
    sin: Tensor,
    eps: float = EPS,
) -> tuple[Tensor, Tensor]:
    """`norm_rotate` in one kernel; computed in float32, rounded once."""
    from avacast.kernels.rope_triton import norm_rotate_rows

    batch, num_tokens, dim = query.shape
    assert key.shape == query.shape, (tuple(query.shape), tuple(key.shape))
    assert dim % cos.shape[1] == 0, f"heads of {cos.shape[1]} do not divide a width of {dim}"
    assert cos.shape[0] == sin.shape[0] == num_tokens, f"{cos.shape[0]} places for {num_tokens} tokens"
    # Rows may lie apart: the three projections are often one product.
    query, key = (x if x.stride(2) == 1 else x.contiguous() for x in (query, key))
    outputs = tuple(torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in (query, key))
    block = block_over(dim)
    launch(
        norm_rotate_rows,
        (batch * num_tokens,),
        *outputs,
        query,
        key,
        query_weight,
        key_weight,
        cos.contiguous(),
        sin.contiguous(),
        *query.stride()[:2],
        *key.stride()[:2],
        num_tokens,
        dim,
        cos.shape[1],
        eps,
        BLOCK=block,
        num_warps=warps_for(block),
    )
    return outputs[0], outputs[1]


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Each interleaved channel pair of every head of [B, N, D] turned by its token's angle; keeps the type."""
    heads = x.unflatten(2, (-1, cos.shape[1]))
    swapped = heads.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
    return (heads * cos[:, None] + swapped * sin[:, None]).to(x.dtype).flatten(2)


def _inputs(size: Size, device: torch.device, dtype: torch.dtype) -> tuple[Any, ...]:
    source = generator_on(device)
    query, key = (
        torch.randn(size.batch, size.num_tokens, size.dim, generator=source, device=device, dtype=dtype)
        for _ in range(2)
    )
    query_weight, key_weight = torch.randn(2, size.dim, generator=source, device=device, dtype=dtype)
    pairs = size.dim // size.num_heads // 2
    angle = torch.rand(size.num_tokens, pairs, generator=source, device=device) * 6
    cos, sin = angle.cos(), angle.sin()
    return (
        query,
        key,
        query_weight,
        key_weight,
        cos.repeat_interleave(2, dim=1),
        torch.stack((-sin, sin), dim=-1).flatten(1),
    )


KERNELS = (Kernel("norm_rotate", norm_rotate_reference, norm_rotate_fused, _inputs),)
