"""Networks in PyTorch behind the calls of exported ones: kernels captured as CUDA graphs, where there is a GPU.

Knows which forms are captured and how they are fed. The same code runs uncaptured on a CPU. Whether a capture is worth
taking is `plan_choice`'s.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from avacast.engine.dit import DiT
from avacast.engine.fused_block import fastest_blocks
from avacast.engine.graph import Graph, StaticBuffers, Tensors
from avacast.engine.graph_signature import GraphSignature
from avacast.engine.networks import VAE
from avacast.engine.plan import PlannedDecoder
from avacast.engine.speech_encoder import SpeechEncoder
from avacast.engine.static_form import (
    DecoderGraph,
    StaticShape,
    decoder_signatures,
    speech_encoder_signature,
    step_signature,
)
from avacast.engine.step_graph import StepGraph
from avacast.engine.still_conditions import StillConditions
from avacast.engine.wan_vae import WanVAE
from avacast.engine.whole_window import WholeWindow
from avacast.engine.window_loop import WindowLoop, loop_signature, loop_tensors

_log = logging.getLogger(__name__)


class CapturedSession:
    """One call with fixed shapes, behind `GraphSession`'s. It keeps nothing of one call for the next."""

    def __init__(
        self,
        call: Callable[[Tensors], tuple[Tensor, ...]],
        signature: GraphSignature,
        device: torch.device,
        *,
        pool: Any = None,
        examples: Tensors | None = None,
    ) -> None:
        """Captures `call`, a function of the signature's inputs by name; `pool` as in `Graph`.
        Inputs are laid out in memory as `examples` are, without them row by row.

        Raises RuntimeError, of which PyTorch's compilers and CUDA's errors are kinds, where it cannot be run or
        captured.
        """
        self.signature = signature
        self._device = device
        names = [spec.name for spec in signature.outputs]
        assert not {*names} & {spec.name for spec in signature.inputs}, "what has an input's name would be carried over"

        def named(tensors: Tensors) -> Tensors:
            return dict(zip(names, call(tensors), strict=True))

        self._graph = Graph(named, StaticBuffers(examples or signature.zeros(device)), pool=pool)
        self.runtime = "PyTorch as a CUDA graph" if self._graph.captured else "PyTorch in a static form"

    def __call__(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """As `GraphSession`'s."""
        outputs = self._graph(**{spec.name: inputs[spec.name].to(spec.dtype) for spec in self.signature.inputs})
        # The next call overwrites them, and they may be a stream's state.
        return tuple(outputs[spec.name].clone() for spec in self.signature.outputs)

    @property
    def pool(self) -> Any:
        """The graph's memory, for another to share; None where nothing was captured."""
        return self._graph.pool if self._graph.captured else None


class CapturedLoop:
    """All passes of a window as one call, for windows of the shapes that it was captured for."""

    def __init__(self, dit: DiT, sessions: Sequence[CapturedSession], still: StillConditions | None = None) -> None:
        """`still` is shared with whoever else runs passes of `dit`."""
        self._dit = dit
        self._sessions = {_shapes_of(session.signature): session for session in sessions}
        self._still = StillConditions(dit) if still is None else still

    def fits(self, window: WholeWindow) -> bool:
        """As `LoopCall`'s."""
        return _shapes(window) in self._sessions

    def __call__(self, window: WholeWindow) -> Tensor:
        """As `LoopCall`'s."""
        given = window.conditions
        tensors = {**loop_tensors(self._dit, window), **self._still(given.text, given.image)}
        (windows,) = self._sessions[_shapes(window)](tensors)
        return windows


def captured_step(dit: DiT, shape: StaticShape, *, pool: Any = None) -> CapturedSession:
    """A pass of `dit` at `shape`; its blocks are compiled, or run as they are where the compiler fails.

    Raises RuntimeError.
    """

    def session(step: StepGraph) -> CapturedSession:
        device = dit.head.head.weight.device
        return CapturedSession(lambda tensors: (step(**tensors),), step_signature(shape), device, pool=pool)

    return _compiled_or_plain(dit, shape, session)


def captured_loop(dit: DiT, shape: StaticShape, num_steps: int, *, pool: Any = None) -> CapturedSession:
    """All `num_steps` passes of a window of `dit` at `shape`, with Euler steps and fusion; else as `captured_step`.

    Raises RuntimeError.
    """

    def session(step: StepGraph) -> CapturedSession:
        loop, device = WindowLoop(step), dit.head.head.weight.device
        return CapturedSession(lambda tensors: (loop(tensors),), loop_signature(shape, num_steps), device, pool=pool)

    return _compiled_or_plain(dit, shape, session)


def _compiled_or_plain(
    dit: DiT, shape: StaticShape, session: Callable[[StepGraph], CapturedSession]
) -> CapturedSession:
    try:
        return session(StepGraph(dit, fastest_blocks(dit, shape)))
    except RuntimeError as error:
        _log.warning("the transformer runs uncompiled: %s", " ".join(str(error).split())[:300])
        return session(StepGraph(dit))


def _shapes_of(signature: GraphSignature) -> tuple[tuple[int, ...], ...]:
    return tuple(signature.input(name).shape for name in ("noise", "tails", "audio"))


def _shapes(window: WholeWindow) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(tensor.shape) for tensor in (window.noise, window.tails, window.conditions.audio))


def captured_speech_encoder(encoder: SpeechEncoder, shape: StaticShape, *, pool: Any = None) -> CapturedSession:
    """`encoder` on sound of the length that a stream at `shape` has it hear. Raises RuntimeError."""
    device, signature = next(encoder.parameters()).device, speech_encoder_signature(shape)
    return CapturedSession(lambda tensors: (encoder(tensors["waveform"]),), signature, device, pool=pool)


def captured_decoder(vae: VAE, shape: StaticShape, *, pool: Any = None) -> PlannedDecoder:
    """`decode_step` of `vae` at `shape`, a latent frame at a time. Raises RuntimeError.

    On a GPU the convolutions of `vae` are laid out as it wants them.
    """
    device, wanted = next(vae.parameters()).device, decoder_signatures(shape)
    if isinstance(vae, WanVAE) and device.type == "cuda":
        vae.network.to_channels_last()
    graph = DecoderGraph(vae)
    first = wanted["decoder_init"].zeros(device)
    _, *past = graph(*first.values())
    later = first | {f"past_{i}": tensor for i, tensor in enumerate(past)}

    def session(name: str, examples: Tensors, pool: Any) -> CapturedSession:
        return CapturedSession(
            lambda tensors: graph(*tensors.values()), wanted[name], device, pool=pool, examples=examples
        )

    step = session("decoder_step", later, pool)
    return PlannedDecoder(vae, session("decoder_init", first, step.pool), step)
