"""Device code of `overlap_fusion`; imported only where Triton runs. One program blends a block of one frame's cells."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def blend_head(
    fused: tl.tensor,
    new: tl.tensor,
    previous: tl.tensor,
    weights: tl.tensor,
    num_channels: tl.tensor,
    num_frames: tl.tensor,
    overlap: tl.tensor,
    area: tl.tensor,
    new_b: tl.tensor,
    new_c: tl.tensor,
    new_f: tl.tensor,
    previous_b: tl.tensor,
    previous_c: tl.tensor,
    previous_f: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """`fused` is contiguous; `new` and `previous` are walked by their strides of batch, channel and frame."""
    plane = tl.program_id(0)
    frame = plane % num_frames
    channel = plane // num_frames % num_channels
    batch = plane // num_frames // num_channels
    cell = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = cell < area
    is_shared = frame < overlap
    weight = tl.load(weights + frame, mask=is_shared, other=1.0)
    now = tl.load(new + batch * new_b + channel * new_c + frame * new_f + cell, mask=inside, other=0.0)
    before = previous + batch * previous_b + channel * previous_c + frame * previous_f + cell
    past = tl.load(before, mask=inside & is_shared, other=0.0)
    blended = weight * now.to(tl.float32) + (1 - weight) * past.to(tl.float32)
    tl.store(fused + plane * area + cell, blended, mask=inside)


@triton.jit
def blend_into_ring(
    window: tl.tensor,
    ring: tl.tensor,
    start: tl.tensor,
    weights: tl.tensor,
    num_frames: tl.tensor,
    num_slots: tl.tensor,
    overlap: tl.tensor,
    area: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """`window` and `ring` are contiguous; every cell of both is touched by one program only."""
    plane = tl.program_id(0)
    frame = plane % num_frames
    slot = (tl.load(start) + frame) % num_slots
    cell = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = cell < area
    is_shared = inside & (frame < overlap)
    weight = tl.load(weights + frame, mask=frame < overlap, other=1.0)
    now = window + plane * area + cell
    kept = ring + (plane // num_frames * num_slots + slot) * area + cell
    past = tl.load(kept, mask=is_shared, other=0.0).to(tl.float32)
    blended = weight * tl.load(now, mask=inside, other=0.0).to(tl.float32) + (1 - weight) * past
    tl.store(now, blended, mask=is_shared)
    tl.store(kept, blended, mask=inside)
