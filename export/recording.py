"""What a real session feeds its networks, and what they answer: the inputs on which an export is judged.

Knows a session's calls and how they are listened to; knows no exported graph.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
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
from avacast.engine.step_graph import step_tensors
from avacast.engine.still_conditions import StillConditions

_UNBATCHED = ("cos", "sin")
_BATCHED_SECOND = ("text_keys", "text_values", "image_keys", "image_values")


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
    _still: StillConditions = field(init=False)
    """Shared by all calls."""

    def __post_init__(self) -> None:
        self._still = StillConditions(self.networks.dit)

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
        self.keep("step", inputs, (output,), self._still(text, image))
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

    def keep(
        self,
        network: str,
        inputs: Mapping[str, Tensor],
        outputs: tuple[Tensor, ...],
        still: Mapping[str, Tensor] = MappingProxyType({}),
    ) -> None:
        """Keeps a call if it is wanted; `inputs` may be written to later, `still` may not."""
        wanted = self.wanted.get(network)
        if wanted is not None and len(self.calls[network]) < self.max_calls and wanted.fits({**inputs, **still}):
            copies = {name: tensor.clone() for name, tensor in inputs.items()}
            self.calls[network].append(Call({**copies, **still}, outputs))

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
    report: Callable[[int, int], None] | None = None,
) -> Recording:
    """Runs a session of `pipeline` on `samples`, float32 `[N]`, and keeps the first calls that fit what is `wanted`.

    Calls of other shapes, as a stream's beginning and end ask for them, are made and not kept. `report` as in `stream`.
    """
    listener = _Listener(pipeline.networks, wanted, max_calls)
    listening = replace(pipeline.networks, plans=Plans(listener.dit, listener))
    with listener.beside_modules():
        frames = stream(Pipeline(pipeline.config, listening), profile, picture, samples, report)
    return Recording(listener.calls, frames)


def batched(calls: Sequence[Call], signature: GraphSignature) -> Iterator[Call]:
    """As many calls as there are, each made of as many calls of one session as the graph takes sessions at once."""
    size = signature.inputs[0].shape[0]
    for index in range(len(calls)):
        together = [calls[(index + i) % len(calls)] for i in range(size)]
        inputs = {name: _joined(name, [call.inputs[name] for call in together]) for name in together[0].inputs}
        outputs = zip(*(call.outputs for call in together), strict=True)
        yield Call(inputs, tuple(torch.cat(tensors) for tensors in outputs))


def _joined(name: str, tensors: list[Tensor]) -> Tensor:
    if name in _UNBATCHED:
        return tensors[0]
    return torch.cat(tensors, dim=1 if name in _BATCHED_SECOND else 0)


def stream(
    pipeline: Pipeline,
    profile: Profile,
    picture: Picture,
    samples: Samples,
    report: Callable[[int, int], None] | None = None,
) -> NDArray[np.uint8]:
    """All frames `[T, H, W, 3]` of a session that hears `samples`; `report` is told how many there are, of how many."""
    session = pipeline.open_session(picture, profile=profile)
    session.push(samples)
    session.flush()
    images: list[NDArray[np.uint8]] = []
    while not session.finished:
        images += [frame.image for frame in session.pull()]
        if report is not None:
            report(len(images), -(-len(samples) // pipeline.config.samples_per_frame))
    session.close()
    return np.stack(images)
