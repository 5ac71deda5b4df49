"""Decoded frames to the planes that video encoders take: I420, BT.601, limited range, as WebRTC has it by default.

Knows the colour matrix and how chroma is halved. Does not know encoders or packets. The engine hands
out RGB, which the reference's detail, recordings and files are made of: this is for whoever encodes on the GPU.

Source: ITU-R BT.601-7 in 8 bits: luma 16 to 235, chroma 16 to 240 around 128.

Shapes: T frames, H x W pixels, both even.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from avacast.kernels.kernel import Kernel, Size, block_over, generator_on, launch, num_blocks, takes_kernel

LUMA = (65.481, 128.553, 24.966)
BLUE = (-37.797, -74.203, 112.0)
RED = (112.0, -93.786, -18.214)
"""Weights of red, green and blue in 0..1."""

MAX_BLOCK = 256
"""Pairs of pixels of two lines that a program converts."""


def to_i420(frames: Tensor) -> Tensor:
    """Frames [T, 3, H, W], RGB in 0..1, of any floating type, to I420, uint8 [T, 3 H / 2, W].

    H lines of luma, then the blue and the red difference plane of H/2 x W/2 values each, one after the other. Chroma is
    the mean of two by two pixels. Values outside 0..1 are clamped.
    """
    return (to_i420_fused if takes_kernel(frames) else to_i420_reference)(frames)


def to_i420_reference(frames: Tensor) -> Tensor:
    """`to_i420` in plain torch."""
    num_frames, _, height, width = _checked_size(frames)
    rgb = frames.float().clamp(0, 1)
    quads = rgb.unflatten(3, (width // 2, 2)).unflatten(2, (height // 2, 2)).mean(dim=(3, 5))
    planes = (_weighted(rgb, LUMA) + 16, _weighted(quads, BLUE) + 128, _weighted(quads, RED) + 128)
    levels = torch.cat([plane.flatten(1) for plane in planes], dim=1).add(0.5).to(torch.uint8)
    return levels.view(num_frames, 3 * height // 2, width)


def to_i420_fused(frames: Tensor) -> Tensor:
    """`to_i420` in one kernel: every pixel is read once, and nothing but bytes is written."""
    from avacast.kernels.yuv_triton import rgb_to_i420

    num_frames, _, height, width = _checked_size(frames)
    planes = torch.empty(num_frames, 3 * height // 2, width, dtype=torch.uint8, device=frames.device)
    block = min(MAX_BLOCK, block_over(width // 2))
    grid = (num_blocks(width // 2, block), height // 2, num_frames)
    launch(
        rgb_to_i420,
        grid,
        planes,
        frames,
        *frames.stride(),
        height,
        width,
        *LUMA,
        *BLUE,
        *RED,
        BLOCK=block,
        # Eight pixels of a line to a thread.
        num_warps=max(1, block // 128),
    )
    return planes


def _checked_size(frames: Tensor) -> tuple[int, int, int, int]:
    num_frames, channels, height, width = frames.shape
    assert channels == 3, f"{channels} channels are not RGB"
    assert height % 2 == width % 2 == 0, f"I420 halves {height}x{width}"
    return num_frames, channels, height, width


def _weighted(rgb: Tensor, weights: tuple[float, float, float]) -> Tensor:
    red, green, blue = (rgb[:, channel] * weight for channel, weight in enumerate(weights))
    return red + green + blue


def _inputs(size: Size, device: torch.device, dtype: torch.dtype) -> tuple[Any, ...]:
    """The four frames of one latent frame."""
    shape = (4 * size.batch, 3, size.height, size.width)
    return (torch.rand(shape, generator=generator_on(device), device=device, dtype=dtype),)


KERNELS = (Kernel("to_i420", to_i420_reference, to_i420_fused, _inputs),)
