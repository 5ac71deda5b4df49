"""Fusing the head of one window with the tail of the one before it, alone or on the way into a ring.

This module knows one formula, `w * new + (1 - w) * previous`. It does not know where windows lie, what the weights mean
or when fusion is due.

Shapes: B batch, C channels, F latent frames of a window, O of them overlapped, R slots of a ring, H x W latent cells.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from avacast.kernels.kernel import Kernel, Size, generator_on, launch, num_blocks, takes_kernel

BLOCK = 1024
"""Latent cells of one frame and channel that a program blends."""


def fuse_overlap(new: Tensor, previous: Tensor, weights: Tensor) -> Tensor:
    """Blends the first O frames of `new` with `previous`.

    Args:
        new: a window of latents, `[B, C, F, H, W]` with F >= O.
        previous: the tail of the window before it, the same frames of the stream, `[B, C, O, H, W]`.
        weights: the weight of `new` for every overlapped frame, `[O]`, 0 (all previous) to 1 (all new).

    Returns:
        The window with its head fused, `[B, C, F, H, W]`, in memory of its own; neither input is written to.
    """
    fuse = fuse_overlap_fused if takes_kernel(new, previous) else fuse_overlap_reference
    return fuse(new, previous, weights)


def fuse_overlap_reference(new: Tensor, previous: Tensor, weights: Tensor) -> Tensor:
    """`fuse_overlap` in plain torch."""
    overlap = _checked_overlap(new, weights)
    assert previous.shape[2] == overlap, f"{previous.shape[2]} previous frames for {overlap} weights"
    w = weights.to(new).view(1, 1, overlap, 1, 1)
    head = w * new[:, :, :overlap] + (1 - w) * previous
    return torch.cat([head, new[:, :, overlap:]], dim=2)


def fuse_overlap_fused(new: Tensor, previous: Tensor, weights: Tensor) -> Tensor:
    """`fuse_overlap` in one kernel; blends in float32 and rounds once."""
    from avacast.kernels.overlap_fusion_triton import blend_head

    overlap = _checked_overlap(new, weights)
    assert previous.shape[2] == overlap, f"{previous.shape[2]} previous frames for {overlap} weights"
    new, previous = _with_whole_planes(new), _with_whole_planes(previous)
    batch, channels, num_frames, height, width = new.shape
    fused = torch.empty(new.shape, dtype=new.dtype, device=new.device)
    grid = (batch * channels * num_frames, num_blocks(height * width, BLOCK))
    launch(
        blend_head,
        grid,
        fused,
        new,
        previous,
        weights.to(new.device, torch.float32),
        channels,
        num_frames,
        overlap,
        height * width,
        *new.stride()[:3],
        *previous.stride()[:3],
        BLOCK=BLOCK,
    )
    return fused


def fuse_into_ring(window: Tensor, ring: Tensor, start: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Blends the head of `window` with what lies in a ring, and lays the whole window down there, both in place.

    Everything has a fixed address, and where the window lies is read on the device, so that a captured graph replays
    from one window to the next: for a graph that serves one stream. The engine's graphs serve all sessions by turns,
    and its lines of latents are shared with the points to which a stream can go back, so it takes `fuse_overlap`.

    Args:
        window: `[B, C, F, H, W]`, contiguous, O <= F <= R; its first O frames are overwritten.
        ring: the last R latent frames of the stream at one denoising step, frame n in slot n % R, `[B, C, R, H, W]`,
            contiguous and finite from the beginning; the window's F slots are overwritten.
        start: number of the window's first latent frame in the stream, int64 `[]`, on the window's device.
        weights: the weight of the window for every overlapped frame, `[O]`; all ones leave it as it is.

    Returns:
        `window` and `ring`, which agree in the window's frames.
    """
    fuse = fuse_into_ring_fused if takes_kernel(window, ring) else fuse_into_ring_reference
    return fuse(window, ring, start, weights)


def fuse_into_ring_reference(window: Tensor, ring: Tensor, start: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """`fuse_into_ring` in plain torch."""
    overlap = _checked_overlap(window, weights)
    _check_ring(window, ring)
    slots = (start + torch.arange(window.shape[2], device=window.device)) % ring.shape[2]
    w = weights.to(window).view(1, 1, overlap, 1, 1)
    head = window[:, :, :overlap]
    head.copy_(w * head + (1 - w) * ring.index_select(2, slots[:overlap]))
    ring.index_copy_(2, slots, window)
    return window, ring


def fuse_into_ring_fused(window: Tensor, ring: Tensor, start: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """`fuse_into_ring` in one kernel; blends in float32 and rounds once."""
    from avacast.kernels.overlap_fusion_triton import blend_into_ring

    overlap = _checked_overlap(window, weights)
    _check_ring(window, ring)
    batch, channels, num_frames, height, width = window.shape
    grid = (batch * channels * num_frames, num_blocks(height * width, BLOCK))
    launch(
        blend_into_ring,
        grid,
        window,
        ring,
        start,
        weights.to(window.device, torch.float32),
        num_frames,
        ring.shape[2],
        overlap,
        height * width,
        BLOCK=BLOCK,
    )
    return window, ring


def _checked_overlap(window: Tensor, weights: Tensor) -> int:
    overlap = weights.shape[0]
    assert window.shape[2] >= overlap, f"a window of {window.shape[2]} frames has no overlap of {overlap}"
    return overlap


def _check_ring(window: Tensor, ring: Tensor) -> None:
    assert ring.shape[2] >= window.shape[2], f"a window of {window.shape[2]} frames in {ring.shape[2]} slots"
    assert window.is_contiguous(), "a window is blended in place: give it memory of its own"
    assert ring.is_contiguous(), "a ring is written in place: give it memory of its own"


def _with_whole_planes(x: Tensor) -> Tensor:
    """`x` [B, C, F, H, W] itself where each frame's cells lie in one piece, otherwise a copy that has it so."""
    return x if x.stride(4) == 1 and x.stride(3) == x.shape[4] else x.contiguous()


def _overlap_inputs(size: Size, device: torch.device, dtype: torch.dtype) -> tuple[Any, ...]:
    source, cells = generator_on(device), size.latent_size
    shape = (size.batch, size.latent_channels, size.num_latents, *cells)
    new = torch.randn(shape, generator=source, device=device, dtype=dtype)
    previous = torch.randn((*shape[:2], size.overlap, *cells), generator=source, device=device, dtype=dtype)
    return new, previous, torch.linspace(0, 1, size.overlap, device=device)


def _ring_inputs(size: Size, device: torch.device, dtype: torch.dtype) -> tuple[Any, ...]:
    window, _, weights = _overlap_inputs(size, device, dtype)
    num_slots = 2 * size.num_latents - 1
    shape = (*window.shape[:2], num_slots, *size.latent_size)
    ring = torch.randn(shape, generator=generator_on(device), device=device, dtype=dtype)
    return window, ring, torch.tensor(5 * num_slots - 2, device=device), weights


KERNELS = (
    Kernel("overlap_fusion", fuse_overlap_reference, fuse_overlap_fused, _overlap_inputs),
    Kernel("overlap_fusion_ring", fuse_into_ring_reference, fuse_into_ring_fused, _ring_inputs),
)
