"""What is traced: the modules that become an export's networks, and which part of them may be rounded to eight bits.

Names, shapes and types of what they take and give are `static_form`'s. Knows no file format and no runtime.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from avacast.engine.graph_signature import GraphSignature
from avacast.engine.networks import Networks
from avacast.engine.static_form import DecoderGraph
from avacast.engine.step_graph import StepGraph

FLOAT8_PARTS = {"step": "blocks"}
"""Networks of which a part is computed in eight bits where that is asked for, and the name of that part's modules: the
blocks of transformer and adapter hold nearly all of the operations, and what embeds and what ends them is delicate."""


class StepByPosition(nn.Module):
    """A `StepGraph` whose inputs are told apart by their order, which is how a graph is traced."""

    def __init__(self, step: StepGraph, names: tuple[str, ...]) -> None:
        super().__init__()
        self.step = step
        self.names = names

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.step(**dict(zip(self.names, inputs, strict=True)))


def static_forms(networks: Networks, signatures: Mapping[str, GraphSignature]) -> dict[str, nn.Module]:
    """What is traced for each of the `signatures`; it shares the weights of `networks`."""
    names = tuple(spec.name for spec in signatures["step"].inputs)
    decoder = DecoderGraph(networks.live_vae or networks.vae)
    forms: dict[str, nn.Module] = {
        "step": StepByPosition(StepGraph(networks.dit), names),
        "decoder_init": decoder,
        "decoder_step": decoder,
        "speech_encoder": networks.speech_encoder,
    }
    return forms | {"clip": networks.clip} if networks.clip else forms
