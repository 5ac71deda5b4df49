"""What a real session feeds its networks, and what they answer: the inputs on which an export is judged.

Knows a session's calls and how they are listened to; knows no exported graph.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avacast.engine.graph_signature import GraphSignature
from avacast.engine.networks import Networks, decode_step
from avacast.engine.pipeline import Pipeline
from avacast.engine.plan import DecoderState, Plans
from avacast.engine.portrait import Picture
from avacast.engine.profile import Profile
from avacast.engine.sample_tail import Samples
from avacast.engine.step_graph import step_tensors, still_conditions


@dataclass(frozen=True)
class Call:
    """One call of a network: tensors by the names of its graph."""

    inputs: Mapping[str, Tensor]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True)
class Recording:
    """The calls of one session, and the frames that it showed."""

    calls: Mapping[str, list[Call]]
    """By network, in order."""
    frames: NDArray[np.uint8]
    """`[T, H, W, 3]`"""


@dataclass
class _Listener:
    """Runs the networks, and keeps what went in and out."""

    networks: Networks
    wanted: Mapping[str, GraphSignature]
    max_calls: int
    calls: defaultdict[str, list[Call]] = field(default_factory=lambda: defaultdict(list))

    def dit(
        self,
        latents: Tensor,
        timestep: Tensor,
        reference: Tensor,
        audio: Tensor,
        audio_mask: Tensor,
        text: Tensor | None,
        image: Tensor | None,
        motion: Tensor | None,
    ) -> Tensor:
        dit = self.networks.dit
        output = dit(latents, timestep, reference, audio, audio_mask, text, image, motion)
        inputs = step_tensors(dit, latents, timestep, reference, audio, audio_mask, motion)
        self.keep("step", {**inputs, **still_conditions(dit, text, image)}, (output,))
        return output

    def fits(self, latents: Tensor) -> bool:
        return latents.ndim == 5

    def decode_step(self, latents: Tensor, state: DecoderState | None) -> tuple[Tensor, DecoderState]:
        pieces: list[Tensor] = []
        for latent in latents.split(1, dim=2):
            past = () if state is None else state.past
            frames, state = decode_step(self.networks.live_vae or self.networks.vae, latent, state)
            inputs = {"latents": latent} | {f"past_{i}": tensor for i, tensor in enumerate(past)}
            self.keep("decoder_step" if past else "decoder_init", inputs, (frames, *state.past))
            pieces.append(frames)
        assert state is not None, "a step decodes at least one latent frame"
        return torch.cat(pieces, dim=1), state

    def keep(self, network: str, inputs: Mapping[str, Tensor], outputs: tuple[Tensor, ...]) -> None:
        if len(self.calls[network]) < self.max_calls and self.wanted[network].fits(inputs):
            self.calls[network].append(Call({name: tensor.clone() for name, tensor in inputs.items()}, outputs))

    @contextlib.contextmanager
    def beside_modules(self) -> Generator[None]:
        """Listens to the networks that a session calls as modules."""

        def hear(name: str, given: str) -> Any:
            def hook(_module: Any, arguments: tuple[Tensor, ...], output: Tensor) -> None:
                self.keep(name, {given: arguments[0]}, (output,))

            return hook

        hooks = [self.networks.speech_encoder.register_forward_hook(hear("speech_encoder", "waveform"))]
        if self.networks.clip is not None:
            hooks.append(self.networks.clip.register_forward_hook(hear("clip", "picture")))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def record(
    pipeline: Pipeline,
    profile: Profile,
    picture: Picture,
    samples: Samples,
    wanted: Mapping[str, GraphSignature],
    *,
    max_calls: int,
) -> Recording:
    """Runs a session of `pipeline` on `samples`, float32 `[N]`, and keeps the first calls that fit what is `wanted`.

    Calls of other shapes, as a stream's beginning and end ask for them, are made and not kept.
    """
    listener = _Listener(pipeline.networks, wanted, max_calls)
    listening = replace(pipeline.networks, plans=Plans(listener.dit, listener))
    with listener.beside_modules():
        frames = stream(Pipeline(pipeline.config, listening), profile, picture, samples)
    return Recording(listener.calls, frames)


def stream(pipeline: Pipeline, profile: Profile, picture: Picture, samples: Samples) -> NDArray[np.uint8]:
    """All frames `[T, H, W, 3]` of a session that hears `samples`."""
    session = pipeline.open_session(picture, profile=profile)
    session.push(samples)
    session.flush()
    images: list[NDArray[np.uint8]] = []
    while not session.finished:
        images += [frame.image for frame in session.pull()]
    session.close()
    return np.stack(images)
