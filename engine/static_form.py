"""The networks in static forms: every shape follows from a model's configuration, a profile and a batch size.

What is captured, traced or compiled ahead of time needs all shapes beforehand, and all state as plain tensors. Knows
the calls of the networks; knows no file and no runtime.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from avacast.engine.audio_split import TOKENS_PER_LATENT_FRAME, stream_split, window_split
from avacast.engine.config import TEMPORAL_STRIDE, ModelConfig
from avacast.engine.graph_signature import GraphSignature, TensorSpec
from avacast.engine.networks import VAE, DecoderState, build_vae, decode_step
from avacast.engine.profile import Profile
from avacast.engine.reference import NUM_MASK_CHANNELS
from avacast.engine.speech_encoder import TOKEN_RATE_HZ, TOKEN_REACH, TOKEN_STRIDE
from avacast.engine.step_graph import IMAGE, TEXT
from avacast.engine.tiny_vae import StreamState, TinyVAE
from avacast.engine.wan_vae import WanDecoderState
from avacast.engine.windows import frames_of_latents

IMAGE_TOKENS = 257
"""Of CLIP, as the transformer reads them."""


class DecoderGraph(nn.Module):
    """One latent frame of a stream of either auto-encoder, with all that is carried over as plain tensors."""

    def __init__(self, vae: VAE) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, latents: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        """`latents` [B, C, 1, h, w] and the `past` that the last call gave, none at first.

        Returns frames [B, 4, 3, 8h, 8w] in 0..1, at first [B, 1, 3, 8h, 8w], and the next past.
        """
        frames, state = decode_step(self.vae, latents, self._state(past))
        return frames, *state.past

    def _state(self, past: tuple[Tensor, ...]) -> DecoderState | None:
        if not past:
            return None
        return StreamState(past) if isinstance(self.vae, TinyVAE) else WanDecoderState(past)


@dataclass(frozen=True)
class StaticShape:
    """Everything that fixes the shapes of a model's networks."""

    config: ModelConfig
    profile: Profile
    batch: int
    dtype: torch.dtype

    @property
    def num_latents(self) -> int:
        """Latent frames of a window."""
        return self.profile.window.window

    @property
    def num_samples(self) -> int:
        """Samples that the speech encoder hears at once, once a stream runs."""
        audio = self.config.audio
        if audio.alignment == "window":
            return TEMPORAL_STRIDE * self.num_latents * self.config.samples_per_frame
        num_new = TOKENS_PER_LATENT_FRAME * self.profile.window.hop
        num_tokens = round(audio.left_context_s * TOKEN_RATE_HZ) + num_new + audio.right_context_tokens
        return TOKEN_STRIDE * (num_tokens - 1) + TOKEN_REACH

    @property
    def num_tokens(self) -> int:
        """Audio tokens that the speech encoder makes of them."""
        return (self.num_samples - TOKEN_REACH) // TOKEN_STRIDE + 1

    @property
    def tokens_per_latent(self) -> int:
        """Audio tokens that a latent frame hears, padding included."""
        margin = self.config.audio.margin
        if self.config.audio.alignment == "window":
            return window_split(self.num_tokens, frames_of_latents(self.num_latents), margin)[0].shape[1]
        return stream_split(0, 1, margin).shape[1]

    @property
    def latents(self) -> tuple[int, int, int, int, int]:
        return (self.batch, self.config.vae.latent_channels, self.num_latents, *self.config.latent_size)


def step_signature(shape: StaticShape) -> GraphSignature:
    """Of `StepGraph`."""
    dit, batch, num_latents = shape.config.dit, shape.batch, shape.num_latents
    _, channels, *grid = shape.latents
    num_patches = 1
    for size, cell in zip(grid, dit.patch_size, strict=True):
        num_patches *= size // cell
    inputs: dict[str, tuple[int, ...]] = {
        "latents": shape.latents,
        "reference": (batch, NUM_MASK_CHANNELS + channels, *grid),
        "timestep": (batch, dit.freq_dim),
        "cos": (num_patches, dit.head_dim),
        "sin": (num_patches, dit.head_dim),
        "audio": (batch, num_latents, shape.tokens_per_latent, dit.audio_in_dim),
        "audio_mask": (batch, num_latents, shape.tokens_per_latent),
    }
    if dit.text_dim:
        inputs |= dict.fromkeys(TEXT, (dit.num_layers, batch, dit.text_len, dit.dim))
    if dit.clip_dim:
        inputs |= dict.fromkeys(IMAGE, (dit.num_layers, batch, IMAGE_TOKENS, dit.dim))
    if dit.motion_dim:
        inputs["motion"] = (batch, num_latents, dit.motion_dim)
    # The tables and the timestep steer every token: they stay exact whatever the rest is stored in.
    exact = {"timestep": torch.float32, "cos": torch.float32, "sin": torch.float32, "audio_mask": torch.bool}
    specs = tuple(TensorSpec(name, size, exact.get(name, shape.dtype)) for name, size in inputs.items())
    return GraphSignature(specs, (TensorSpec("output", shape.latents, shape.dtype),))


def decoder_signatures(shape: StaticShape) -> dict[str, GraphSignature]:
    """Of `DecoderGraph` at a stream's beginning and later; the past has the shapes that the network itself gives it."""
    with torch.device("meta"), torch.no_grad():
        graph = DecoderGraph(build_vae(shape.config.live_vae or shape.config.vae)).to("meta", shape.dtype)
        batch, channels, _, *size = shape.latents
        latent = torch.empty((batch, channels, 1, *size), dtype=shape.dtype)
        first, *past = graph(latent)
        further, *_ = graph(latent, *past)
    given = TensorSpec.of("latents", latent)
    before = tuple(TensorSpec.of(f"past_{i}", tensor) for i, tensor in enumerate(past))
    after = tuple(TensorSpec.of(f"next_past_{i}", tensor) for i, tensor in enumerate(past))
    return {
        "decoder_init": GraphSignature((given,), (TensorSpec.of("frames", first), *after)),
        "decoder_step": GraphSignature((given, *before), (TensorSpec.of("frames", further), *after)),
    }


def signatures(shape: StaticShape) -> dict[str, GraphSignature]:
    """The signature of every network of an export, by name.

    `step`, audio adapter and transformer in one pass; `decoder_init` and `decoder_step`, the first latent frame of a
    stream and every further one; `speech_encoder`; and `clip` where the model sees the picture. The Euler step is not
    fused into the pass: it moves less than a thousandth of the bytes that one block does. Sessions share passes of the
    transformer alone: whatever the batch, each is heard and decoded by itself.
    """
    decoders = decoder_signatures(replace(shape, batch=1))
    found = {"step": step_signature(shape), **decoders, "speech_encoder": speech_encoder_signature(shape)}
    return found | {"clip": _clip(shape)} if shape.config.clip else found


def speech_encoder_signature(shape: StaticShape) -> GraphSignature:
    """Of `SpeechEncoder` on one session's sound."""
    width = shape.config.dit.audio_in_dim
    waveform = TensorSpec("waveform", (1, shape.num_samples), shape.dtype)
    return GraphSignature((waveform,), (TensorSpec("tokens", (1, shape.num_tokens, width), shape.dtype),))


def _clip(shape: StaticShape) -> GraphSignature:
    """Of one picture, at the model's size."""
    config = shape.config
    assert config.clip is not None, "only asked of a model that sees the picture"
    picture = TensorSpec("picture", (1, 3, config.height, config.width), shape.dtype)
    num_tokens = (config.clip.image_size // config.clip.patch_size) ** 2 + 1
    return GraphSignature((picture,), (TensorSpec("tokens", (1, num_tokens, config.clip.dim), shape.dtype),))
