"""The layers of the Wan 2.1 auto-encoder, causal in time, with the past of a stream handed in and out.

Knows convolutions, norms and attention, in the parameter names of diffusers' `AutoencoderKLWan`, and how a stream's
past runs through them. Knows neither encoder nor decoder, and nothing of latents' scale.

There is no state in a layer and no number of calls is counted, so that one step of a stream is a function of tensors:
it can be captured as a CUDA graph or exported as it stands.

Source: Wan 2.1 (arXiv 2503.20314), section on the causal video auto-encoder.

Shapes: B batch, C channels, T frames, H x W cells.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avacast.kernels.vae_norm import norm_silu, norm_silu_causal

NUM_PAST = 2
"""Frames that a causal convolution of three frames remembers."""


class StreamPast:
    """What a stream's convolutions remember, walked through once for every step in the order they run.

    Each hands in its newest frames and is given those of the step before; None begins a stream, before which there are
    zeros. `kept` is the past of the next step, its tensors in memory of their own.
    """

    def __init__(self, past: Sequence[Tensor] | None) -> None:
        self.begins = past is None
        self.kept: list[Tensor] = []
        self._past = past or ()

    def extend(self, x: Tensor, num_past: int = NUM_PAST) -> Tensor:
        """`x` [B, C, T, H, W] behind the `num_past` frames before it; what the next step needs is kept."""
        padded = F.pad(x, (0, 0, 0, 0, num_past, 0)) if self.begins else torch.cat((self._past[len(self.kept)], x), 2)
        self.keep(padded, num_past)
        return padded

    def extend_normed(self, x: Tensor, norm: ChannelNorm) -> Tensor:
        """SiLU of `norm(x)` behind the frames of it before, in one kernel on a GPU."""
        if self.begins:
            return self.extend(norm_silu(x, norm.gamma))
        padded = norm_silu_causal(x, norm.gamma, self._past[len(self.kept)])
        self.keep(padded, NUM_PAST)
        return padded

    def keep(self, x: Tensor, num_past: int) -> None:
        """Keeps the last frames of `x` without looking back."""
        self.kept.append(x[:, :, x.shape[2] - num_past :].clone())


class CausalConv(nn.Conv3d):
    """A convolution over three frames, its own and the two before, that keeps height and width."""

    def __init__(self, in_channels: int, out_channels: int, *, spatial: int = 3) -> None:
        edge = spatial // 2
        super().__init__(in_channels, out_channels, (NUM_PAST + 1, spatial, spatial), padding=(0, edge, edge))

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]  # without its past it is not this layer
        self,
        input: Tensor,  # noqa: A002  # torch's name for it
        past: StreamPast,
    ) -> Tensor:
        return super().forward(past.extend(input))

    def after(self, norm: ChannelNorm, x: Tensor, past: StreamPast) -> Tensor:
        """Of SiLU of `norm(x)`."""
        return super().forward(past.extend_normed(x, norm))


class ChannelNorm(nn.Module):
    """Each cell's channels divided by their root mean square, in float32, times a learned scale."""

    def __init__(self, num_channels: int, num_axes: int = 3) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(num_channels, *(1,) * num_axes))

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x.float(), dim=1).to(x.dtype) * x.shape[1] ** 0.5 * self.gamma


class ResidualBlock(nn.Module):
    """Two causal convolutions, each behind a norm and SiLU, beside a shortcut."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(in_channels)
        self.conv1 = CausalConv(in_channels, out_channels)
        self.norm2 = ChannelNorm(out_channels)
        self.conv2 = CausalConv(out_channels, out_channels)
        same = in_channels == out_channels
        self.conv_shortcut = nn.Identity() if same else nn.Conv3d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, past: StreamPast) -> Tensor:
        inner = self.conv1.after(self.norm1, x, past)
        return self.conv2.after(self.norm2, inner, past) + self.conv_shortcut(x)


class FrameAttention(nn.Module):
    """Single-head attention among the cells of each frame."""

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(num_channels, num_axes=2)
        self.to_qkv = nn.Conv2d(num_channels, 3 * num_channels, 1)
        self.proj = nn.Conv2d(num_channels, num_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        frames = to_frames(x)
        size = frames.shape[2:]
        query, key, value = self.to_qkv(self.norm(frames)).flatten(2).transpose(1, 2).unsqueeze(1).chunk(3, dim=-1)
        seen = F.scaled_dot_product_attention(query, key, value).squeeze(1).transpose(1, 2).unflatten(2, size)
        return from_frames(self.proj(seen), x.shape[0]) + x


class MiddleBlock(nn.Module):
    """What stands at the coarsest resolution of both sides."""

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.attentions = nn.ModuleList([FrameAttention(num_channels)])
        self.resnets = nn.ModuleList(ResidualBlock(num_channels, num_channels) for _ in range(2))

    def forward(self, x: Tensor, past: StreamPast) -> Tensor:
        first, last = self.resnets
        return last(self.attentions[0](first(x, past)), past)


class Upsample(nn.Module):
    """Doubles height and width and halves the channels; with `in_time`, makes two frames of each but the first."""

    def __init__(self, num_channels: int, *, in_time: bool) -> None:
        super().__init__()
        # Nearest at a factor of two is the released nearest-exact, and quicker.
        doubled = nn.Upsample(scale_factor=2.0, mode="nearest")
        self.resample = nn.Sequential(doubled, nn.Conv2d(num_channels, num_channels // 2, 3, padding=1))
        self.time_conv = CausalConv(num_channels, 2 * num_channels, spatial=1) if in_time else None

    def forward(self, x: Tensor, past: StreamPast) -> Tensor:
        batch = x.shape[0]
        if self.time_conv is not None and past.begins:
            # The first frame stays single, and those after it do not look back at it here.
            past.keep(torch.zeros_like(x).expand(-1, -1, NUM_PAST, -1, -1), NUM_PAST)
        elif self.time_conv is not None:
            doubled = self.time_conv(x, past).unflatten(1, (2, -1))
            x = doubled.permute(0, 2, 3, 1, 4, 5).flatten(2, 3)
        return from_frames(self.resample(to_frames(x)), batch)


class Downsample(nn.Module):
    """Halves height and width; with `in_time`, makes one frame of every two but the first."""

    def __init__(self, num_channels: int, *, in_time: bool) -> None:
        super().__init__()
        halved = nn.Conv2d(num_channels, num_channels, 3, stride=2)
        self.resample = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), halved)
        self.time_conv = nn.Conv3d(num_channels, num_channels, (3, 1, 1), stride=(2, 1, 1)) if in_time else None

    def forward(self, x: Tensor, past: StreamPast) -> Tensor:
        x = from_frames(self.resample(to_frames(x)), x.shape[0])
        if self.time_conv is None:
            return x
        if past.begins:
            past.keep(x, 1)
            return x
        return self.time_conv(past.extend(x, 1))


def to_frames(x: Tensor) -> Tensor:
    """[B, C, T, H, W] as pictures [B*T, C, H, W]; no copy in channels-last memory."""
    return x.transpose(1, 2).flatten(0, 1)


def from_frames(frames: Tensor, batch: int) -> Tensor:
    """Pictures [B*T, C, H, W] as [B, C, T, H, W]; no copy."""
    return frames.unflatten(0, (batch, -1)).transpose(1, 2)
