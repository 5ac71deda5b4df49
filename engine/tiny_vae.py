"""The tiny causal auto-encoder in the public `taew2_1` layout, whole clips or piece by piece.

Knows its convolutions and the past that a stream has to carry. Does not know windows, the transformer or pixels'
colour space.

One code path serves both: a whole clip is a stream of one piece. Inside, frames are stacked time-major, [T*B, C, H, W]
in channels-last memory, so that "the frame before" is a shift by B rows.

Source: the layout of TAEHV (github.com/madebyollin/taehv), narrowed by `VAEConfig`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avacast.engine.config import TEMPORAL_STRIDE, VAEConfig
from avacast.engine.grow_upsample import GrowUpsample, interleaved

NUM_TRIMMED = TEMPORAL_STRIDE - 1
"""The first latent frame makes one video frame: the first three of its four are dropped."""


@dataclass(frozen=True)
class StreamState:
    """The past of every memory block, in order, each [B, C, H, W]. Never changed in place, so sharing is copying."""

    past: tuple[Tensor, ...]


DecoderState = StreamState
EncoderState = StreamState


class ReLU(nn.Module):
    """`relu_` as a layer."""

    def forward(self, x: Tensor) -> Tensor:
        return relu_(x)


class MemoryBlock(nn.Module):
    """A residual block that sees each frame beside the one before it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            _conv(2 * width, width),
            ReLU(),
            _conv(width, width),
            ReLU(),
            _conv(width, width),
        )

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        """`x` [T*B, C, H, W], `before` [B, C, H, W]; returns [T*B, C, H, W]."""
        # An empty piece beside `before` would take the result out of channels-last memory.
        past = before if x.shape[0] == before.shape[0] else torch.cat((before, x[: -before.shape[0]]))
        return relu_(self.conv(torch.cat((x, past), dim=1)).add_(x))


class Pool(nn.Module):
    """Joins every `stride` frames into one."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(stride * width, width, 1, bias=False)

    def forward(self, x: Tensor, batch: int) -> Tensor:
        if self.stride > 1:
            groups = x.permute(0, 2, 3, 1).unflatten(0, (-1, self.stride, batch))
            x = groups.permute(0, 2, 3, 4, 1, 5).flatten(4).flatten(0, 1).permute(0, 3, 1, 2)
        return self.conv(x)


class SoftClamp(nn.Module):
    """Holds latents within +-3."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / 3) * 3


class TinyVAE(nn.Module):
    """Encoder and decoder. Latents are those the transformer sees; `VAEConfig`'s mean and scale are applied here."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        assert config.kind == "tiny", config.kind
        self.config = config
        self.encoder = nn.ModuleList(_encoder_layers(config))
        self.decoder = nn.ModuleList(_decoder_layers(config))
        ones = (1.0,) * config.latent_channels
        self.register_buffer("mean", _per_channel(config.latents_mean or (0.0,) * len(ones)), persistent=False)
        self.register_buffer("std", _per_channel(config.latents_std or ones), persistent=False)
        # On a CPU in bfloat16, weights in this layout decode about a third faster.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it

    def encode(self, frames: Tensor) -> Tensor:
        """Whole clip [B, T, 3, H, W] in 0..1 to latents [B, C, ceil(T/4), H/8, W/8], as released.

        Latent f sees the frames 4f to 4f+3; a last group of fewer is filled up with the last frame.
        """
        missing = -frames.shape[1] % TEMPORAL_STRIDE
        if missing:
            frames = torch.cat((frames, frames[:, -1:].expand(-1, missing, -1, -1, -1)), dim=1)
        return self.encode_step(frames, None)[0]

    def encode_causal(self, frames: Tensor) -> Tensor:
        """Whole clip [B, 4L-3, 3, H, W] in 0..1 to latents [B, C, L, H/8, W/8], aligned with `decode`.

        The first frame stands three more times in front: latent 0 is frame 0, and latent f the frames 4f-3 to 4f.
        """
        assert frames.shape[1] % TEMPORAL_STRIDE == 1, f"{frames.shape[1]} frames are not 4L-3"
        return self.encode(torch.cat((frames[:, :1].expand(-1, NUM_TRIMMED, -1, -1, -1), frames), dim=1))

    def encode_step(self, frames: Tensor, state: EncoderState | None) -> tuple[Tensor, EncoderState]:
        """The next 4L frames [B, 4L, 3, H, W] of a stream to L latents [B, C, L, H/8, W/8]; `state` None begins it."""
        batch, num_frames = frames.shape[:2]
        assert num_frames % TEMPORAL_STRIDE == 0, f"{num_frames} frames are not a multiple of {TEMPORAL_STRIDE}"
        x = _to_channels_last(frames.transpose(0, 1).flatten(0, 1))
        x, state = _run(self.encoder, x, batch, state)
        latents = ((x - self.mean) / self.std).unflatten(0, (-1, batch))
        return latents.permute(1, 2, 0, 3, 4), state

    def decode(self, latents: Tensor) -> Tensor:
        """Whole clip of latents [B, C, L, h, w] to frames [B, 4L-3, 3, 8h, 8w] in 0..1."""
        return self.decode_step(latents, None)[0]

    def decode_step(self, latents: Tensor, state: DecoderState | None) -> tuple[Tensor, DecoderState]:
        """The next latents [B, C, L, h, w] of a stream to frames [B, 4L, 3, 8h, 8w] in 0..1; `state` None begins it.

        The first step gives 4L-3 frames.
        """
        frames, next_state = self.decode_unclamped(latents, state)
        return frames.clamp(0, 1), next_state

    def decode_unclamped(self, latents: Tensor, state: DecoderState | None) -> tuple[Tensor, DecoderState]:
        """`decode_step` without the last clamp, which would stop the gradients of training."""
        batch = latents.shape[0]
        x = _to_channels_last(latents.permute(2, 0, 1, 3, 4).flatten(0, 1))
        *body, growth, narrowing, _, last = self.decoder
        assert isinstance(growth, GrowUpsample), growth
        assert isinstance(narrowing, nn.Conv2d), narrowing
        x, next_state = _run(body, x * self.std + self.mean, batch, state)
        # The frames are put in order as pictures: here the growth has several times their channels.
        pictures = [last(relu_(part)) for part in growth.grown(x, narrowing)]
        frames = interleaved(pictures, batch).unflatten(0, (-1, batch)).transpose(0, 1)
        return (frames[:, NUM_TRIMMED:] if state is None else frames), next_state


def relu_(x: Tensor) -> Tensor:
    """What is below zero set to zero, in place.

    PyTorch widens bfloat16 to compare it. Read as an integer a negative number is negative too: three times as fast,
    and a ninth of a decoder step on a core with AMX.
    """
    if x.dtype != torch.bfloat16 or x.device.type != "cpu" or x.requires_grad or torch.compiler.is_exporting():
        return F.relu_(x)
    x.view(torch.int16).clamp_(min=0)
    return x


def _run(layers: Iterable[nn.Module], x: Tensor, batch: int, state: StreamState | None) -> tuple[Tensor, StreamState]:
    """Takes [T*B, C, H, W] through the layers; memory blocks read their past from `state` and leave the next."""
    past: list[Tensor] = []
    remaining = iter(layers)
    for layer in remaining:
        if isinstance(layer, MemoryBlock):
            before = x.new_zeros(()).expand_as(x[:batch]) if state is None else state.past[len(past)]
            # A copy: a view would keep the whole piece alive.
            past.append(x[-batch:].clone())
            x = layer(x, before)
        elif isinstance(layer, Pool):
            x = layer(x, batch)
        elif isinstance(layer, GrowUpsample):
            x = layer(x, batch, next(remaining))
        else:
            x = layer(x)
    return x, StreamState(tuple(past))


def _encoder_layers(config: VAEConfig) -> list[nn.Module]:
    width = config.encoder_width
    layers: list[nn.Module] = [_conv(3, width), ReLU()]
    for stride in (2, 2, 1):
        layers += [Pool(width, stride), nn.Conv2d(width, width, 3, stride=2, padding=1, bias=False)]
        layers += [MemoryBlock(width) for _ in range(3)]
    return [*layers, _conv(width, config.latent_channels)]


def _decoder_layers(config: VAEConfig) -> list[nn.Module]:
    widths = config.decoder_widths
    layers: list[nn.Module] = [SoftClamp(), _conv(config.latent_channels, widths[0]), ReLU()]
    for width, narrower, stride in zip(widths, widths[1:], (1, 2, 2), strict=False):
        layers += [MemoryBlock(width) for _ in range(3)]
        # The public layout's upsampling has its own place in the numbering; here it is part of the growth.
        layers += [nn.Identity(), GrowUpsample(width, stride), nn.Conv2d(width, narrower, 3, padding=1, bias=False)]
    return [*layers, ReLU(), _conv(widths[-1], 3)]


def _conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1)


def _per_channel(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values, device="cpu")[:, None, None]


def _to_channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)
