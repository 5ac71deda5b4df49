"""Device code of `rope`; imported only where Triton runs. One program is one token's query and key."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _norm_rotate(
    output: tl.tensor,
    row: tl.tensor,
    weight: tl.tensor,
    cos: tl.tensor,
    sin: tl.tensor,
    channel: tl.tensor,
    dim: tl.tensor,
    eps: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    inside = channel < dim
    value = tl.load(row + channel, mask=inside, other=0.0).to(tl.float32)
    scaled = value * tl.load(weight + channel, mask=inside, other=0.0).to(tl.float32)
    # Exchanged in registers: loading each pair's other channel again would break wide loads into single values.
    even, odd = tl.split(tl.reshape(scaled, (BLOCK // 2, 2)))
    swapped = tl.reshape(tl.join(odd, even), (BLOCK,))
    inverse = tl.rsqrt(tl.sum(value * value, axis=0) / dim + eps)
    tl.store(output + channel, (scaled * cos + swapped * sin) * inverse, mask=inside)


@triton.jit
def norm_rotate_rows(
    query_output: tl.tensor,
    key_output: tl.tensor,
    query: tl.tensor,
    key: tl.tensor,
    query_weight: tl.tensor,
    key_weight: tl.tensor,
    cos: tl.tensor,
    sin: tl.tensor,
    query_b: tl.tensor,
    query_n: tl.tensor,
    key_b: tl.tensor,
    key_n: tl.tensor,
    num_tokens: tl.tensor,
    dim: tl.tensor,
    head_dim: tl.tensor,
    eps: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """Outputs and tables are contiguous; `query` and `key` have strides of batch and token."""
    row = tl.program_id(0).to(tl.int64)
    batch, token = row // num_tokens, row % num_tokens
    channel = tl.arange(0, BLOCK)
    place = token * head_dim + channel % head_dim
    token_cos = tl.load(cos + place, mask=channel < dim, other=0.0)
    token_sin = tl.load(sin + place, mask=channel < dim, other=0.0)
    query_row = query + batch * query_b + token * query_n
    key_row = key + batch * key_b + token * key_n
    _norm_rotate(query_output + row * dim, query_row, query_weight, token_cos, token_sin, channel, dim, eps, BLOCK)
    _norm_rotate(key_output + row * dim, key_row, key_weight, token_cos, token_sin, channel, dim, eps, BLOCK)
