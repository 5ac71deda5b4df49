"""Exported networks behind the calls that they replace.

Knows the calls of every network, and which graph serves which shapes. How a runtime is fed is
`graph_session`'s; whether an export is worth taking is `plan_choice`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import torch
from torch import Tensor, nn

from avacast.engine.clip import ClipVision
from avacast.engine.dit import DiT
from avacast.engine.graph_session import GraphSession
from avacast.engine.speech_encoder import SpeechEncoder
from avacast.engine.step_graph import step_tensors
from avacast.engine.still_conditions import StillConditions
from avacast.engine.tiny_vae import StreamState, TinyVAE
from avacast.engine.wan_vae import WanDecoderState, WanVAE
from avacast.engine.whole_window import LoopCall

DecoderState: TypeAlias = StreamState | WanDecoderState


class DecoderCall(Protocol):
    """What decodes in place of an auto-encoder."""

    def decode_step(self, latents: Tensor, state: DecoderState | None) -> tuple[Tensor, DecoderState]:
        """As the auto-encoder's."""
        ...

    def fits(self, latents: Tensor) -> bool:
        """Whether it takes latents of this shape."""
        ...


@dataclass(frozen=True)
class Plans:
    """What runs in place of a network; None where PyTorch runs it."""

    dit: Callable[..., Tensor] | None = None
    """With the arguments of `DiT.forward`."""
    decoder: DecoderCall | None = None
    speech_encoder: SpeechEncoder | None = None
    clip: Callable[[Tensor], Tensor] | None = None
    """With the argument of `ClipVision.forward`."""
    loop: LoopCall | None = None
    """All passes of a window at once, where it stands alone."""


class PlannedDiT:
    """The call of a `DiT`, run by exported step graphs for the shapes that they have, by the `DiT` for all others."""

    def __init__(self, dit: DiT, sessions: Sequence[GraphSession]) -> None:
        self._dit = dit
        self._sessions = tuple(sessions)
        self.still = StillConditions(dit)

    def __call__(
        self,
        latents: Tensor,
        timestep: Tensor,
        reference: Tensor,
        audio: Tensor,
        audio_mask: Tensor,
        text: Tensor | None = None,
        image: Tensor | None = None,
        motion: Tensor | None = None,
    ) -> Tensor:
        """As `DiT.forward`."""
        sessions = [one for one in self._sessions if one.signature.input("latents").shape == tuple(latents.shape)]
        if sessions:  # keys and values are only made where a graph may read them
            tensors = {
                **step_tensors(self._dit, latents, timestep, reference, audio, audio_mask, motion),
                **self.still(text, image),
            }
            for session in sessions:
                if session.signature.fits(tensors):
                    (output,) = session(tensors)
                    return output
        return self._dit(latents, timestep, reference, audio, audio_mask, text, image, motion)


class PlannedSpeechEncoder(SpeechEncoder):
    """A `SpeechEncoder`, run by exported graphs for sound of the lengths that they have; it shares the other's weights.

    A stream's runs have one length once it has gone on for as long as a run looks back.
    """

    def __init__(self, encoder: SpeechEncoder, sessions: Sequence[GraphSession]) -> None:
        nn.Module.__init__(self)  # what `SpeechEncoder` makes is there already
        self.wav2vec2, self.normalize, self.dim = encoder.wav2vec2, encoder.normalize, encoder.dim
        self.register_buffer("_silence", None, persistent=False)
        self._sessions = {session.signature.input("waveform").shape: session for session in sessions}
        self.train(encoder.training)

    def forward(self, waveform: Tensor) -> Tensor:
        session = self._sessions.get(tuple(waveform.shape))
        if session is None:
            return super().forward(waveform)
        (tokens,) = session({"waveform": waveform})
        return tokens.to(waveform.dtype)


class PlannedClip:
    """The call of a `ClipVision`, run by exported graphs for pictures of the sizes that they have."""

    def __init__(self, clip: ClipVision, sessions: Sequence[GraphSession]) -> None:
        self._clip = clip
        self._sessions = {session.signature.input("picture").shape: session for session in sessions}

    def __call__(self, picture: Tensor) -> Tensor:
        """As `ClipVision.forward`."""
        session = self._sessions.get(tuple(picture.shape))
        if session is None:
            return self._clip(picture)
        (tokens,) = session({"picture": picture})
        return tokens.to(picture.dtype)


class PlannedDecoder:
    """`decode_step` of an auto-encoder, run by its exported graphs, one latent frame after another."""

    def __init__(self, vae: TinyVAE | WanVAE, init: GraphSession, step: GraphSession) -> None:
        self._vae = vae
        self._init = init
        self.step = step

    def decode_step(self, latents: Tensor, state: DecoderState | None) -> tuple[Tensor, DecoderState]:
        """As the auto-encoder's; states may be exchanged with it."""
        assert self.fits(latents), f"latents {list(latents.shape)} for {self._init.signature.input('latents').shape}"
        past = () if state is None else state.past
        pieces: list[Tensor] = []
        for latent in latents.split(1, dim=2):
            tensors = {"latents": latent} | {f"past_{i}": tensor for i, tensor in enumerate(past)}
            frames, *past = self.step(tensors) if past else self._init(tensors)
            pieces.append(frames)
        kind = StreamState if isinstance(self._vae, TinyVAE) else WanDecoderState
        return torch.cat(pieces, dim=1), kind(tuple(past))

    def fits(self, latents: Tensor) -> bool:
        """Whether the graphs were made for latents of this batch and size, of any number of frames."""
        batch, channels, _, *size = latents.shape
        return self._init.signature.input("latents").shape == (batch, channels, 1, *size)
