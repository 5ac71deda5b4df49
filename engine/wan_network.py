"""Encoder and decoder of the Wan 2.1 auto-encoder, one step of a stream at a time.

Knows which layer follows which, in the parameter names of diffusers' `AutoencoderKLWan`. Knows nothing of a stream
beyond the step it is given, of latents' scale or of whole clips.

Shapes: B batch, C latent channels, L latent frames, T frames, H x W pixels, h x w = H/8 x W/8.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from avacast.engine.wan_layers import (
    CausalConv,
    ChannelNorm,
    Downsample,
    MiddleBlock,
    ResidualBlock,
    StreamPast,
    Upsample,
)

Past: TypeAlias = Sequence[Tensor]
"""What every causal convolution keeps, in order: [B, C, 2, H, W], of the encoder's joining ones [B, C, 1, H, W]."""

NUM_RES_BLOCKS = 2
WIDENINGS = (1, 2, 4, 4)
"""Of `base_dim`, from the pixels' resolution to the latents'."""

JOINS_TIME = (False, True, True)
"""Whether the resampling between two resolutions is one of time too, from the pixels on."""


class WanEncoder(nn.Module):
    """The first frame [B, 3, 1, H, W], or the next four [B, 3, 4, H, W], to one latent frame [B, 2C, 1, h, w]."""

    def __init__(self, base_dim: int, latent_channels: int) -> None:
        super().__init__()
        widths = [base_dim * widening for widening in WIDENINGS]
        self.conv_in = CausalConv(3, widths[0])
        layers: list[nn.Module] = []
        width = widths[0]
        for level, wider in enumerate(widths):
            for _ in range(NUM_RES_BLOCKS):
                layers.append(ResidualBlock(width, wider))
                width = wider
            if level < len(JOINS_TIME):
                layers.append(Downsample(width, in_time=JOINS_TIME[level]))
        self.down_blocks = nn.ModuleList(layers)
        self.mid_block = MiddleBlock(width)
        self.norm_out = ChannelNorm(width)
        self.conv_out = CausalConv(width, 2 * latent_channels)

    def forward(self, x: Tensor, past: Past | None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Moments before `quant_conv`, and the past of the next step; `past` None begins."""
        walk = StreamPast(past)
        x = self.conv_in(x, walk)
        for layer in self.down_blocks:
            x = layer(x, walk)
        x = self.mid_block(x, walk)
        return self.conv_out.after(self.norm_out, x, walk), tuple(walk.kept)


class UpBlock(nn.Module):
    """The residual blocks of one resolution, and the upsampling to the next."""

    def __init__(self, in_channels: int, out_channels: int, upsample: Upsample | None) -> None:
        super().__init__()
        widths = (in_channels, *(out_channels,) * NUM_RES_BLOCKS)
        self.resnets = nn.ModuleList(ResidualBlock(width, out_channels) for width in widths)
        self.upsamplers = nn.ModuleList([upsample] if upsample else [])

    def forward(self, x: Tensor, past: StreamPast) -> Tensor:
        for layer in (*self.resnets, *self.upsamplers):
            x = layer(x, past)
        return x


class WanDecoder(nn.Module):
    """Latent frames [B, C, L, h, w] to frames [B, 3, T, H, W] around -1..1.

    A stream begins with one latent frame, which makes one frame; afterwards each makes four, and any L gives the same.
    """

    def __init__(self, base_dim: int, latent_channels: int) -> None:
        super().__init__()
        widths = [base_dim * widening for widening in reversed(WIDENINGS)]
        self.conv_in = CausalConv(latent_channels, widths[0])
        self.mid_block = MiddleBlock(widths[0])
        blocks: list[UpBlock] = []
        width = widths[0]
        for narrower, in_time in zip(widths, (*reversed(JOINS_TIME), None), strict=True):
            blocks.append(UpBlock(width, narrower, None if in_time is None else Upsample(narrower, in_time=in_time)))
            width = narrower // 2
        self.up_blocks = nn.ModuleList(blocks)
        self.norm_out = ChannelNorm(base_dim)
        self.conv_out = CausalConv(base_dim, 3)

    def forward(self, x: Tensor, past: Past | None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Frames from what `post_quant_conv` made, and the past of the next step; `past` None begins."""
        assert past is not None or x.shape[2] == 1, f"a stream begins with one latent frame, not {x.shape[2]}"
        walk = StreamPast(past)
        x = self.mid_block(self.conv_in(x, walk), walk)
        for block in self.up_blocks:
            x = block(x, walk)
        return self.conv_out.after(self.norm_out, x, walk), tuple(walk.kept)


class WanNetwork(nn.Module):
    """All weights of the auto-encoder, in diffusers' names."""

    def __init__(self, base_dim: int, latent_channels: int) -> None:
        super().__init__()
        self.encoder = WanEncoder(base_dim, latent_channels)
        self.quant_conv = nn.Conv3d(2 * latent_channels, 2 * latent_channels, 1)
        self.post_quant_conv = nn.Conv3d(latent_channels, latent_channels, 1)
        self.decoder = WanDecoder(base_dim, latent_channels)

    def to_channels_last(self) -> None:
        """Lays the weights out with the channels innermost, as convolutions on a GPU want them; what passes follows."""
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                module.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # torch's stub lacks it
            elif isinstance(module, nn.Conv2d):
                module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
