"""A network in PyTorch behind the call of an exported one: its kernels captured as a CUDA graph, where there is a GPU.

Knows which forms are captured and how they are fed. The same code runs uncaptured on a CPU. Whether a capture is worth
taking is `plan_choice`'s.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from avacast.engine.dit import DiT
from avacast.engine.graph import Graph, StaticBuffers, Tensors
from avacast.engine.graph_signature import GraphSignature
from avacast.engine.networks import VAE
from avacast.engine.plan import PlannedDecoder
from avacast.engine.static_form import DecoderGraph, StaticShape, decoder_signatures, step_signature
from avacast.engine.step_graph import StepGraph

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
    ) -> None:
        """Captures `call`, a function of the signature's inputs by name; `pool` as in `Graph`.

        Raises RuntimeError, of which PyTorch's compilers and CUDA's errors are kinds, where it cannot be run or
        captured.
        """
        self.signature = signature
        self._device = device
        names = [spec.name for spec in signature.outputs]
        assert not {*names} & {spec.name for spec in signature.inputs}, "what has an input's name would be carried over"

        def named(tensors: Tensors) -> Tensors:
            return dict(zip(names, call(tensors), strict=True))

        self._graph = Graph(named, StaticBuffers(signature.zeros(device)), pool=pool)
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


def captured_step(dit: DiT, shape: StaticShape, *, pool: Any = None) -> CapturedSession:
    """A pass of `dit` at `shape`; its blocks are compiled, or run as they are where the compiler fails.

    Raises RuntimeError.
    """
    device, signature = dit.head.head.weight.device, step_signature(shape)

    def session(blocks: list[Callable[..., Tensor]] | None) -> CapturedSession:
        step = StepGraph(dit, blocks)
        return CapturedSession(lambda tensors: (step(**tensors),), signature, device, pool=pool)

    # A CPU has no launches to save, and its compiler needs a C++ compiler at hand: only what breaks a graph is found.
    backend = "inductor" if device.type == "cuda" else "eager"
    try:
        return session([torch.compile(block, fullgraph=True, dynamic=False, backend=backend) for block in dit.blocks])
    except RuntimeError as error:
        _log.warning("the transformer runs uncompiled: %s", " ".join(str(error).split())[:300])
        return session(None)


def captured_decoder(vae: VAE, shape: StaticShape, *, pool: Any = None) -> PlannedDecoder:
    """`decode_step` of `vae` at `shape`, a latent frame at a time. Raises RuntimeError."""
    device, wanted = next(vae.parameters()).device, decoder_signatures(shape)
    graph = DecoderGraph(vae)

    def session(name: str, pool: Any) -> CapturedSession:
        return CapturedSession(lambda tensors: graph(*tensors.values()), wanted[name], device, pool=pool)

    step = session("decoder_step", pool)
    return PlannedDecoder(vae, session("decoder_init", step.pool), step)
