"""The Wan 2.1 causal auto-encoder, whole clips or latent by latent.

Known here are whole clips and streams, the normalisation of latents and the names in Wan's own checkpoint. The layers
are `wan_network`'s: diffusers' `AutoencoderKLWan` computes the same, but counts its calls in Python lists, so that a
step of a stream could neither be captured nor exported. Nothing is known of windows or of the transformer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from avacast.engine.config import TEMPORAL_STRIDE, VAEConfig
from avacast.engine.wan_network import NUM_RES_BLOCKS, WanNetwork

LATENTS_MEAN = (
    *(-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508),
    *(0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921),
)
LATENTS_STD = (
    *(2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743),
    *(3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160),
)
"""Of Wan 2.1's latents, per channel; used where the configuration names none."""


@dataclass(frozen=True)
class WanDecoderState:
    """What every causal convolution keeps of the past, in order; never changed in place, so sharing is copying."""

    past: tuple[Tensor, ...]
    """Each [B, C, 2, H, W], C and size its own, from the stream's first step on."""


class WanVAE(nn.Module):
    """Encoder and decoder with the calls of `TinyVAE`. Latents are normalised, as the transformer sees them."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        assert config.kind == "wan", config.kind
        self.config = config
        self.network = WanNetwork(config.base_dim, config.latent_channels)
        self.register_buffer("mean", _per_channel(config.latents_mean or LATENTS_MEAN), persistent=False)
        self.register_buffer("std", _per_channel(config.latents_std or LATENTS_STD), persistent=False)

    def encode_causal(self, frames: Tensor) -> Tensor:
        """Whole clip [B, 4L-3, 3, H, W] in 0..1 to latents [B, C, L, H/8, W/8], the posterior's mode."""
        assert frames.shape[1] % TEMPORAL_STRIDE == 1, f"{frames.shape[1]} frames are not 4L-3"
        video = frames.transpose(1, 2) * 2 - 1
        past: tuple[Tensor, ...] | None = None
        moments: list[Tensor] = []
        for piece in video.split([1] + [TEMPORAL_STRIDE] * (video.shape[2] // TEMPORAL_STRIDE), dim=2):
            moment, past = self.network.encoder(piece, past)
            moments.append(moment)
        mode, _ = self.network.quant_conv(torch.cat(moments, dim=2)).chunk(2, dim=1)
        return (mode - self.mean) / self.std

    def decode(self, latents: Tensor) -> Tensor:
        """Whole clip of latents [B, C, L, h, w] to frames [B, 4L-3, 3, 8h, 8w] in 0..1."""
        return self.decode_step(latents, None)[0]

    def decode_step(self, latents: Tensor, state: WanDecoderState | None) -> tuple[Tensor, WanDecoderState]:
        """The next latents [B, C, L, h, w] of a stream to frames [B, 4L, 3, 8h, 8w] in 0..1; `state` None begins it.

        The first step gives 4L-3 frames.
        """
        past = None if state is None else state.past
        pieces: list[Tensor] = []
        for latent in latents.split(1, dim=2):
            frames, past = self.decode_frames(latent, past)
            pieces.append(frames)
        assert past is not None, "a step decodes at least one latent frame"
        return torch.cat(pieces, dim=1), WanDecoderState(past)

    def decode_frames(self, latents: Tensor, past: tuple[Tensor, ...] | None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """One pass of the decoder, a function of tensors alone: latents [B, C, L, h, w] to frames [B, 4L, 3, 8h, 8w].

        `past` None begins a stream, with L = 1 and one frame. Memory grows with L: `decode_step` takes one at a time.
        """
        frames, kept = self.network.decoder(self.network.post_quant_conv(latents * self.std + self.mean), past)
        return (frames.transpose(1, 2) / 2 + 0.5).clamp(0, 1), kept


def _per_channel(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values, device="cpu")[:, None, None, None]


RESIDUAL_NAMES = {
    "residual.0.gamma": "norm1.gamma",
    "residual.2": "conv1",
    "residual.3.gamma": "norm2.gamma",
    "residual.6": "conv2",
    "shortcut": "conv_shortcut",
}
MIDDLE_NAMES = {"0": "resnets.0", "1": "attentions.0", "2": "resnets.1"}
OUTER_NAMES = {
    "conv1": "quant_conv",
    "conv2": "post_quant_conv",
    "encoder.conv1": "encoder.conv_in",
    "decoder.conv1": "decoder.conv_in",
    "encoder.head.0": "encoder.norm_out",
    "decoder.head.0": "decoder.norm_out",
    "encoder.head.2": "encoder.conv_out",
    "decoder.head.2": "decoder.conv_out",
}
"""Public names to diffusers'."""


def from_public_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A `WanVAE` state dict from the tensors of `Wan2.1_VAE.pth`."""
    return {f"network.{_converted(name)}": tensor for name, tensor in weights.items()}


def _converted(name: str) -> str:
    stem, kind = name.rsplit(".", 1)
    if stem in OUTER_NAMES:
        return f"{OUTER_NAMES[stem]}.{kind}"
    match = re.fullmatch(r"(encoder|decoder)\.(downsamples|upsamples|middle)\.(\d+)\.(.+)", name)
    assert match, f"{name} is not a tensor of the Wan VAE"
    side, group, number, rest = match.groups()
    for public, theirs in RESIDUAL_NAMES.items():
        if rest.startswith(public):
            rest = theirs + rest.removeprefix(public)
            break
    return f"{side}.{_place(group, number)}.{rest}"


def _place(group: str, number: str) -> str:
    """Where a numbered block of the public checkpoint sits in diffusers' network."""
    if group == "middle":
        return f"mid_block.{MIDDLE_NAMES[number]}"
    if group == "downsamples":
        return f"down_blocks.{number}"
    # Going up, diffusers groups the residual blocks of a resolution with the upsampling that follows them.
    block, part = divmod(int(number), NUM_RES_BLOCKS + 2)
    return f"up_blocks.{block}.upsamplers.0" if part > NUM_RES_BLOCKS else f"up_blocks.{block}.resnets.{part}"
