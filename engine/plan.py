"""Exported networks behind the calls that they replace.

Knows the calls of transformer and decoder, and which graph serves which shapes. How a runtime is fed is
`graph_session`'s; whether an export is worth taking is `plan_choice`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from avacast.engine.dit import DiT
from avacast.engine.graph_session import GraphSession
from avacast.engine.step_graph import step_tensors, still_conditions
from avacast.engine.tiny_vae import StreamState, TinyVAE
from avacast.engine.wan_vae import WanDecoderState, WanVAE

DecoderState: TypeAlias = StreamState | WanDecoderState

MAX_STILL = 4
"""Texts and pictures whose keys and values are kept; those of the released model take 140 MB each in bfloat16."""


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


class PlannedDiT:
    """The call of a `DiT`, run by exported step graphs for the shapes that they have, by the `DiT` for all others."""

    def __init__(self, dit: DiT, sessions: Sequence[GraphSession]) -> None:
        self._dit = dit
        self._sessions = tuple(sessions)
        self._still: dict[tuple[int, int], tuple[tuple[Tensor | None, Tensor | None], Mapping[str, Tensor]]] = {}

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
        tensors = {
            **step_tensors(self._dit, latents, timestep, reference, audio, audio_mask, motion),
            **self._kept(text, image),
        }
        for session in self._sessions:
            if session.signature.fits(tensors):
                (output,) = session(tensors)
                return output
        return self._dit(latents, timestep, reference, audio, audio_mask, text, image, motion)

    def _kept(self, text: Tensor | None, image: Tensor | None) -> Mapping[str, Tensor]:
        """Keys and values of `text` and `image`, made when the two are first seen."""
        key = (id(text), id(image))
        if key not in self._still:
            while len(self._still) >= MAX_STILL:
                del self._still[next(iter(self._still))]
            # The two are kept as well, so that no other tensor can come to have their identities.
            self._still[key] = (text, image), still_conditions(self._dit, text, image)
        return self._still[key][1]


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
