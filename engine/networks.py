"""The networks of an avatar, and the calls that both the live and the offline loop make of them.

This module knows how conditions enter the transformer and in which precision it runs; it knows no windows, no sessions
and no files.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TypeAlias

import torch
from torch import Tensor

from avacast.engine.clip import ClipVision
from avacast.engine.company import Company
from avacast.engine.config import DiTConfig, ModelConfig, VAEConfig
from avacast.engine.dit import DiT
from avacast.engine.flow_matching import velocity_from_sample
from avacast.engine.guidance import Conditioning, Guidance, guided_pass
from avacast.engine.plan import Plans
from avacast.engine.precision import Precision
from avacast.engine.reference import NUM_MASK_CHANNELS
from avacast.engine.speech_encoder import SpeechEncoder
from avacast.engine.text_states import TextStates
from avacast.engine.tiny_vae import StreamState, TinyVAE
from avacast.engine.wan_vae import WanDecoderState, WanVAE

VAE: TypeAlias = TinyVAE | WanVAE
DecoderState: TypeAlias = StreamState | WanDecoderState
"""What a stream's decoder remembers, of the auto-encoder that made it."""


@dataclass(frozen=True)
class Networks:
    """Transformer, auto-encoder and speech encoder, and what only some models have; no state of any session."""

    dit: DiT
    vae: VAE
    speech_encoder: SpeechEncoder
    clip: ClipVision | None = None
    """Makes the image tokens, where the transformer sees them."""
    text: TextStates | None = None
    """The prompts, where the transformer reads them."""
    live_vae: VAE | None = None
    """Decodes in place of `vae`."""
    plans: Plans = field(default_factory=Plans)
    """What runs in place of these networks; guidance goes on with `dit`."""
    company: Company = field(default_factory=Company)
    """What sessions that share a pass read together."""

    @classmethod
    def build(cls, config: ModelConfig) -> Networks:
        """The networks that `config` describes, with their starting weights and, where it reads text, noise to read."""
        return cls(
            DiT(config.dit),
            build_vae(config.vae),
            SpeechEncoder(config.audio),
            ClipVision(config.clip) if config.clip else None,
            TextStates.random(config.dit) if config.dit.text_dim else None,
            build_vae(config.live_vae) if config.live_vae else None,
        )

    def for_inference(self, device: torch.device | str, precision: torch.dtype | Precision) -> Networks:
        """These networks in eval mode on `device`; a number type alone is that of them all (see `Precision`).

        A GPU that is named by its number becomes the current one of this thread, to which kernels and events go.
        """
        precision, device = Precision.of(precision), torch.device(device)
        if str(device).startswith("cuda:"):
            torch.cuda.set_device(device)
        networks = ((self.dit, precision.dit), (self.clip, precision.dit))
        for network, dtype in (*networks, (self.vae, precision.vae), (self.live_vae, precision.vae)):
            if network is not None:
                network.to(device, dtype).eval().requires_grad_(False)
        self.speech_encoder.to(device).eval().requires_grad_(False)
        return self if self.text is None else replace(self, text=self.text.to(device, precision.dit))

    @property
    def device(self) -> torch.device:
        return self.dit.head.head.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the transformer and of its conditions."""
        return self.dit.head.head.weight.dtype

    @property
    def precision(self) -> Precision:
        return Precision(self.dtype, next(self.vae.parameters()).dtype)

    @property
    def hearing(self) -> SpeechEncoder:
        """What makes tokens of a session's sound."""
        return self.plans.speech_encoder or self.speech_encoder

    def conditions(
        self,
        reference: Tensor,
        audio: Tensor,
        audio_mask: Tensor,
        *,
        image: Tensor | None = None,
        motion: Tensor | None = None,
        silence: Tensor | None = None,
    ) -> Conditioning:
        """Conditions of one window from `[4+C, F, h, w]`, `[F, A, D]` and bool `[F, A]`.

        `image` `[1, 257, clip_dim]` is what `see` made of the picture, `motion` `[F, motion_dim]` how the head moves,
        `silence` `[F, A, D]` what guidance needs.
        """
        return Conditioning(
            reference=reference[None].to(self.device, self.dtype),
            audio=audio[None].to(self.device, self.dtype),
            audio_mask=audio_mask[None].to(self.device),
            text=None if self.text is None else self.text.positive,
            image=image,
            motion=None if motion is None else motion[None].to(self.device, self.dtype),
            negative_text=None if self.text is None else self.text.negative,
            silence=None if silence is None else silence[None].to(self.device, self.dtype),
        )

    def velocity(self, latents: Tensor, sigma: Tensor, timestep: Tensor, conditions: Conditioning) -> Tensor:
        """One pass of the transformer: float32 latents `[B, C, F, h, w]` at noise level `sigma` to their velocity.

        `sigma` and `timestep` are one for all, or `[B]`.
        """
        output = (self.plans.dit or self.dit)(
            latents.to(self.dtype),
            timestep.to(self.device).reshape(-1).expand(latents.shape[0]),
            conditions.reference,
            conditions.audio,
            conditions.audio_mask,
            conditions.text,
            conditions.image,
            conditions.motion,
        ).float()
        levels = sigma.to(self.device).reshape(-1, 1, 1, 1, 1)
        return velocity_of(self.dit.config, output, latents, levels, conditions.reference)

    def guided_velocity(
        self, guidance: Guidance, latents: Tensor, sigma: Tensor, timestep: Tensor, conditions: Conditioning
    ) -> Tensor:
        """`velocity` under `guidance`, all its branches in one batch."""
        moment = timestep.to(self.device).reshape(1)
        output = guided_pass(self.dit, guidance, latents.to(self.dtype), moment, conditions).float()
        return velocity_of(self.dit.config, output, latents, sigma, conditions.reference)

    def see(self, picture: Tensor) -> Tensor | None:
        """Image tokens `[1, 257, clip_dim]` of `picture` `[3, H, W]` in 0..1; None for a model that sees none."""
        return None if self.clip is None else (self.plans.clip or self.clip)(picture[None].to(self.device, self.dtype))

    def encode(self, frames: Tensor) -> Tensor:
        """Video `[T, 3, H, W]` in 0..1, T = 4L-3, to latents float32 `[C, L, h, w]`, causally."""
        return self.vae.encode_causal(frames[None].to(self.device, self.precision.vae))[0].float()

    def decode(self, latents: Tensor, state: DecoderState | None) -> tuple[Tensor, DecoderState]:
        """The next latents of a stream `[1, C, L, h, w]` to frames float32 `[T, 3, H, W]` in 0..1; and the state."""
        dtype = self.precision.vae
        if (decoder := self.plans.decoder) is not None and decoder.fits(latents):
            frames, next_state = decoder.decode_step(latents.to(dtype), state)
        else:
            frames, next_state = decode_step(self.live_vae or self.vae, latents.to(dtype), state)
        return frames[0].float(), next_state


def build_vae(config: VAEConfig) -> VAE:
    """The auto-encoder of that kind, with its starting weights."""
    return WanVAE(config) if config.kind == "wan" else TinyVAE(config)


def decode_step(vae: VAE, latents: Tensor, state: DecoderState | None) -> tuple[Tensor, DecoderState]:
    """`vae.decode_step`, whichever it is; `state` must be its own."""
    if isinstance(vae, WanVAE):
        assert state is None or isinstance(state, WanDecoderState), type(state)
        return vae.decode_step(latents, state)
    assert state is None or isinstance(state, StreamState), type(state)
    return vae.decode_step(latents, state)


def velocity_of(config: DiTConfig, output: Tensor, latents: Tensor, sigma: Tensor, reference: Tensor) -> Tensor:
    """Velocity `[B, C, F, h, w]` from the transformer's raw `output`, whatever `config.prediction` makes of it.

    `latents` as given to the transformer; `reference` is mask and reference latents, `[B, 4+C, F, h, w]`.
    """
    if config.prediction == "velocity":
        return output
    sample = output + reference[:, NUM_MASK_CHANNELS:] if config.prediction == "residual" else output
    return velocity_from_sample(latents, sample, sigma)
