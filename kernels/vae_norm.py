"""What stands before a causal convolution of the video decoder: norm, SiLU, and the frames before in front.

Knows the arithmetic of one cell and the layout that a convolution over time reads. Does not know which layer calls, nor
who keeps the past.

Shapes: B batch, C channels, T frames, P frames of the past, H x W cells. Memory is contiguous or channels-last, and the
output's is the input's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from avacast.kernels.kernel import Kernel, Size, block_over, generator_on, launch, num_blocks, takes_kernel, warps_for

TILE = 4096
"""Values that a program holds: all channels of a few cells."""

NUM_PAST = 2
"""Frames that a convolution over three looks back."""


def norm_silu(x: Tensor, gamma: Tensor) -> Tensor:
    """SiLU of each cell's channels over their root mean square times `gamma`; [B, C, T, H, W], `gamma` of C values."""
    return (norm_silu_fused if takes_kernel(x, gamma) else norm_silu_reference)(x, gamma)


def norm_silu_reference(x: Tensor, gamma: Tensor) -> Tensor:
    """`norm_silu` in plain torch."""
    return F.silu(F.normalize(x.float(), dim=1).to(x.dtype) * x.shape[1] ** 0.5 * gamma.view(-1, 1, 1, 1))


def norm_silu_fused(x: Tensor, gamma: Tensor) -> Tensor:
    """`norm_silu` in one kernel; computed in float32, rounded once."""
    return _launch(x, gamma, None)


def norm_silu_causal(x: Tensor, gamma: Tensor, past: Tensor) -> Tensor:
    """`norm_silu(x)` behind `past`, as a causal convolution reads it.

    Args:
        x: [B, C, T, H, W].
        gamma: C values.
        past: the last frames of what this call returned before, [B, C, P, H, W]; zeros begin a stream.

    Returns:
        [B, C, P + T, H, W]; its last P frames are the next call's past.
    """
    run = norm_silu_causal_fused if takes_kernel(x, gamma, past) else norm_silu_causal_reference
    return run(x, gamma, past)


def norm_silu_causal_reference(x: Tensor, gamma: Tensor, past: Tensor) -> Tensor:
    """`norm_silu_causal` in plain torch."""
    return torch.cat((past, norm_silu_reference(x, gamma)), dim=2)


def norm_silu_causal_fused(x: Tensor, gamma: Tensor, past: Tensor) -> Tensor:
    """`norm_silu_causal` in one kernel: the concatenation costs no pass of its own."""
    return _launch(x, gamma, past)


def _launch(x: Tensor, gamma: Tensor, past: Tensor | None) -> Tensor:
    from avacast.kernels.vae_norm_triton import norm_silu_cells

    x = _with_whole_planes(x)
    batch, channels, num_frames, height, width = x.shape
    past = x.new_empty(batch, channels, 0, height, width) if past is None else _with_whole_planes(past)
    num_past, area = past.shape[2], height * width
    assert past.shape == (batch, channels, num_past, height, width), (tuple(x.shape), tuple(past.shape))
    is_channels_last = x.stride(1) == 1
    output = torch.empty(
        (batch, channels, num_past + num_frames, height, width),
        dtype=x.dtype,
        device=x.device,
        memory_format=torch.channels_last_3d if is_channels_last else torch.contiguous_format,
    )
    block_c = block_over(channels)
    block_s = max(1, TILE // block_c)
    launch(
        norm_silu_cells,
        (num_blocks(area, block_s), num_past + num_frames, batch),
        output,
        x,
        past,
        gamma.flatten(),
        *_strides(output),
        *_strides(x),
        *_strides(past),
        num_past,
        channels,
        area,
        channels**0.5,
        BLOCK_C=block_c,
        BLOCK_S=block_s,
        num_warps=warps_for(block_c * block_s),
    )
    return output


def _strides(x: Tensor) -> tuple[int, int, int, int]:
    """Of batch, channel, frame and cell."""
    return x.stride(0), x.stride(1), x.stride(2), x.stride(4)


def _with_whole_planes(x: Tensor) -> Tensor:
    """`x` itself where the cells of a frame can be counted with one stride, otherwise a contiguous copy."""
    return x if x.stride(3) == x.stride(4) * x.shape[4] else x.contiguous()


def _norm_inputs(size: Size, device: torch.device, dtype: torch.dtype) -> tuple[Any, ...]:
    x, gamma, _ = _causal_inputs(size, device, dtype)
    return x, gamma


def _causal_inputs(size: Size, device: torch.device, dtype: torch.dtype) -> tuple[Any, ...]:
    """What one latent frame becomes at full resolution: four frames, channels-last."""
    source, width = generator_on(device), size.vae_width
    x, past = (
        torch.randn(size.batch, width, frames, size.height, size.width, generator=source, device=device, dtype=dtype)
        for frames in (4, NUM_PAST)
    )
    gamma = torch.randn(width, 1, 1, 1, generator=source, device=device, dtype=dtype)
    return (
        x.contiguous(memory_format=torch.channels_last_3d),
        gamma,
        past.contiguous(memory_format=torch.channels_last_3d),
    )


KERNELS = (
    Kernel("vae_norm_silu", norm_silu_reference, norm_silu_fused, _norm_inputs),
    Kernel("vae_norm_silu_causal", norm_silu_causal_reference, norm_silu_causal_fused, _causal_inputs),
)
