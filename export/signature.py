"""What is exported: each network in a static form, and the names, shapes and types of its inputs and outputs.

Everything here follows from a model's configuration, one of its profiles and a batch size; no shape is decided while a
graph runs. Knows which networks an export has; knows no file format and no runtime.

The networks: `step`, audio adapter and transformer in one pass; `decoder_init` and `decoder_step`, the first latent
frame of a stream and every further one; `speech_encoder`; and `clip` where the model sees the picture. The Euler step
is not fused into the pass: it moves less than a thousandth of the bytes that one block does.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from avacast.engine.graph_signature import GraphSignature, TensorSpec
from avacast.engine.networks import Networks
from avacast.engine.static_form import DecoderGraph, StaticShape, decoder_signatures, step_signature
from avacast.engine.step_graph import StepGraph


class StepByPosition(nn.Module):
    """A `StepGraph` whose inputs are told apart by their order, which is how a graph is traced."""

    def __init__(self, step: StepGraph, names: tuple[str, ...]) -> None:
        super().__init__()
        self.step = step
        self.names = names

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.step(**dict(zip(self.names, inputs, strict=True)))


def signatures(shape: StaticShape) -> dict[str, GraphSignature]:
    """The signature of every network of the model, by name."""
    found = {"step": step_signature(shape), **decoder_signatures(shape), "speech_encoder": _speech_encoder(shape)}
    return found | {"clip": _clip(shape)} if shape.config.clip else found


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


def _speech_encoder(shape: StaticShape) -> GraphSignature:
    """Of one session's sound: sessions are encoded one by one, whatever the batch."""
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
