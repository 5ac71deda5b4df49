"""Device code of `modulate`; imported only where Triton runs. One program is one token."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def residual_norm_modulate_rows(
    normed: tl.tensor,
    total: tl.tensor,
    x: tl.tensor,
    branch: tl.tensor | None,
    gate: tl.tensor | None,
    shift: tl.tensor,
    scale: tl.tensor,
    gate_b: tl.tensor,
    shift_b: tl.tensor,
    scale_b: tl.tensor,
    num_tokens: tl.tensor,
    dim: tl.tensor,
    eps: tl.tensor,
    ONE_PLUS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Tokens are contiguous; `gate`, `shift` and `scale` have a stride of batch. `branch` and `gate` may be None."""
    row = tl.program_id(0).to(tl.int64)
    batch = row // num_tokens
    channel = tl.arange(0, BLOCK)
    inside = channel < dim
    here = row * dim + channel
    value = tl.load(x + here, mask=inside, other=0.0).to(tl.float32)
    if branch is not None:
        added = tl.load(branch + here, mask=inside, other=0.0).to(tl.float32)
        if gate is not None:
            added *= tl.load(gate + batch * gate_b + channel, mask=inside, other=0.0).to(tl.float32)
        # Rounded here, so that the norm is that of the sum which the next layer reads.
        rounded = (value + added).to(total.dtype.element_ty)  # pyright: ignore[reportAttributeAccessIssue]  # a pointer's
        tl.store(total + here, rounded, mask=inside)
        value = rounded.to(tl.float32)
    centred = tl.where(inside, value - tl.sum(value, axis=0) / dim, 0.0)
    spread = tl.sum(centred * centred, axis=0) / dim
    factor = tl.load(scale + batch * scale_b + channel, mask=inside, other=0.0).to(tl.float32)
    if ONE_PLUS:
        factor += 1
    offset = tl.load(shift + batch * shift_b + channel, mask=inside, other=0.0).to(tl.float32)
    tl.store(normed + here, centred * tl.rsqrt(spread + eps) * factor + offset, mask=inside)
