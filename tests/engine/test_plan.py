"""Graphs behind the calls of transformer and decoder. The graphs here are the static forms themselves, in PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from avacast.engine.config import ModelConfig
from avacast.engine.dit import DiT
from avacast.engine.graph_signature import GraphSignature, TensorSpec
from avacast.engine.networks import VAE, decode_step
from avacast.engine.pipeline import Pipeline
from avacast.engine.plan import MAX_STILL, PlannedDecoder, PlannedDiT
from avacast.engine.step_graph import StepGraph, step_tensors, still_conditions
from avacast.engine.tiny_vae import StreamState, TinyVAE
from avacast.engine.wan_vae import WanDecoderState


@dataclass
class StepSession:
    """A step graph in PyTorch, which counts its calls."""

    step: StepGraph
    signature: GraphSignature
    runtime: str = "PyTorch"
    num_calls: int = 0
    keys: set[int] = field(default_factory=set[int])

    def __call__(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        self.num_calls += 1
        if "text_keys" in inputs:
            self.keys.add(inputs["text_keys"].data_ptr())
        return (self.step(**inputs),)


@dataclass
class DecoderSession:
    """One latent frame of an auto-encoder in PyTorch, its past as named tensors."""

    vae: VAE
    signature: GraphSignature
    runtime: str = "PyTorch"

    def __call__(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        past = tuple(inputs[f"past_{i}"] for i in range(len(inputs) - 1))
        kind = StreamState if isinstance(self.vae, TinyVAE) else WanDecoderState
        frames, state = decode_step(self.vae, inputs["latents"], kind(past) if past else None)
        return frames, *state.past


def window(config: ModelConfig, num_latents: int) -> dict[str, Tensor]:
    dit, (height, width) = config.dit, config.latent_size
    channels = dit.latent_channels
    torch.manual_seed(num_latents)
    return {
        "latents": torch.randn(1, channels, num_latents, height, width),
        "timestep": torch.tensor([700.0]),
        "reference": torch.randn(1, 4 + channels, num_latents, height, width),
        "audio": torch.randn(1, num_latents, 5, dit.audio_in_dim),
        "audio_mask": torch.ones(1, num_latents, 5, dtype=torch.bool),
    }


def conditions(config: ModelConfig, seed: int = 0) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    dit = config.dit
    return {"text": torch.randn(1, dit.text_len, dit.text_dim), "image": torch.randn(1, 257, dit.clip_dim)}


def step_session(dit: DiT, given: Mapping[str, Tensor], still: Mapping[str, Tensor]) -> StepSession:
    tensors = {**step_tensors(dit, **given), **still_conditions(dit, still.get("text"), still.get("image"))}
    inputs = tuple(TensorSpec.of(name, tensor) for name, tensor in tensors.items())
    return StepSession(StepGraph(dit), GraphSignature(inputs, (TensorSpec.of("output", given["latents"]),)))


def planned_decoder(vae: VAE, latents: Tensor) -> PlannedDecoder:
    signature = GraphSignature((TensorSpec.of("latents", latents[:, :, :1]),), ())
    return PlannedDecoder(vae, DecoderSession(vae, signature), DecoderSession(vae, signature))


def test_a_window_of_the_graphs_shape_runs_in_the_graph(released_pipeline: Pipeline):
    """And gives exactly what the network gives."""
    dit, config = released_pipeline.networks.dit, released_pipeline.config
    given, still = window(config, 3), conditions(config)
    session = step_session(dit, given, still)
    assert torch.equal(PlannedDiT(dit, [session])(**given, **still), dit(**given, **still))
    assert session.num_calls == 1


def test_a_window_of_another_shape_runs_in_the_network(released_pipeline: Pipeline):
    """The last window of a stream is shorter; it is computed all the same."""
    dit, config = released_pipeline.networks.dit, released_pipeline.config
    still = conditions(config)
    session = step_session(dit, window(config, 3), still)
    short = window(config, 2)
    assert torch.equal(PlannedDiT(dit, [session])(**short, **still), dit(**short, **still))
    assert session.num_calls == 0


def test_keys_of_text_and_picture_are_made_once_for_a_session(released_pipeline: Pipeline):
    """Every further window and step finds them; another session has its own."""
    dit, config = released_pipeline.networks.dit, released_pipeline.config
    given, first, second = window(config, 3), conditions(config, 1), conditions(config, 2)
    session = step_session(dit, given, first)
    planned = PlannedDiT(dit, [session])
    for still in (first, second, first, second):
        assert torch.equal(planned(**given, **still), dit(**given, **still))
    assert len(session.keys) == 2


def test_keys_of_many_sessions_do_not_pile_up(released_pipeline: Pipeline):
    """The oldest leave, and are made again when they are needed again."""
    dit, config = released_pipeline.networks.dit, released_pipeline.config
    given = window(config, 3)
    sessions = [conditions(config, seed) for seed in range(MAX_STILL + 2)]
    planned = PlannedDiT(dit, [step_session(dit, given, sessions[0])])
    for still in (*sessions, sessions[0]):
        assert torch.equal(planned(**given, **still), dit(**given, **still))
    assert len(planned._still) == MAX_STILL


@pytest.mark.parametrize("kind", ["tiny_pipeline", "released_pipeline"])
def test_a_decoder_that_is_run_by_graphs_gives_the_same_stream(kind: str, request: pytest.FixtureRequest):
    """Whatever the pieces, and with the auto-encoder itself taking over in the middle and handing back."""
    pipeline: Pipeline = request.getfixturevalue(kind)
    vae = pipeline.networks.vae
    latents = torch.randn(1, pipeline.config.vae.latent_channels, 5, *pipeline.config.latent_size)
    planned = planned_decoder(vae, latents)
    with torch.inference_mode():
        whole, _ = decode_step(vae, latents, None)
        first, state = planned.decode_step(latents[:, :, :2], None)
        second, state = decode_step(vae, latents[:, :, 2:3], state)
        third, _ = planned.decode_step(latents[:, :, 3:], state)
    torch.testing.assert_close(torch.cat((first, second, third), dim=1), whole)


def test_a_decoder_knows_which_latents_it_takes(tiny_pipeline: Pipeline):
    """Any number of frames, no other size and no other batch."""
    config = tiny_pipeline.config
    latents = torch.randn(1, config.vae.latent_channels, 3, *config.latent_size)
    planned = planned_decoder(tiny_pipeline.networks.vae, latents)
    assert planned.fits(latents)
    assert not planned.fits(latents[..., 1:])
    assert not planned.fits(torch.cat((latents, latents)))
