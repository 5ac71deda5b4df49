"""Device code of `vae_norm`; imported only where Triton runs. One program is all channels of a few cells of a frame."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def norm_silu_cells(
    output: tl.tensor,
    x: tl.tensor,
    past: tl.tensor,
    gamma: tl.tensor,
    output_b: tl.tensor,
    output_c: tl.tensor,
    output_t: tl.tensor,
    output_s: tl.tensor,
    x_b: tl.tensor,
    x_c: tl.tensor,
    x_t: tl.tensor,
    x_s: tl.tensor,
    past_b: tl.tensor,
    past_c: tl.tensor,
    past_t: tl.tensor,
    past_s: tl.tensor,
    num_past: tl.tensor,
    num_channels: tl.tensor,
    area: tl.tensor,
    root: tl.tensor,
    BLOCK_C: tl.constexpr,
    BLOCK_S: tl.constexpr,
) -> None:
    """Strides are those of batch, channel, frame and cell. Frames before `num_past` are copied from `past`."""
    cell = tl.program_id(0) * BLOCK_S + tl.arange(0, BLOCK_S)[:, None]
    frame = tl.program_id(1)
    batch = tl.program_id(2).to(tl.int64)
    channel = tl.arange(0, BLOCK_C)[None, :]
    inside = (cell < area) & (channel < num_channels)
    # Whole tensors exceed 32 bits at a high resolution; a frame does not.
    there = output + batch * output_b + frame.to(tl.int64) * output_t + channel * output_c + cell * output_s
    if frame < num_past:
        before = past + batch * past_b + frame.to(tl.int64) * past_t + channel * past_c + cell * past_s
        tl.store(there, tl.load(before, mask=inside, other=0.0), mask=inside)
    else:
        here = x + batch * x_b + (frame - num_past).to(tl.int64) * x_t + channel * x_c + cell * x_s
        value = tl.load(here, mask=inside, other=0.0).to(tl.float32)
        norm = tl.sqrt(tl.sum(value * value, axis=1))[:, None]
        weight = tl.load(gamma + channel, mask=channel < num_channels, other=0.0).to(tl.float32)
        scaled = value * (root / tl.maximum(norm, 1e-12)) * weight
        tl.store(there, scaled / (1 + tl.exp(-scaled)), mask=inside)
