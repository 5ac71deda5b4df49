"""Graphs behind the calls of transformer and decoder. The graphs here are the static forms themselves, in PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from avacast.engine.audio_features import open_features
from avacast.engine.config import ModelConfig
from avacast.engine.dit import DiT
from avacast.engine.graph_signature import GraphSignature, TensorSpec
from avacast.engine.networks import VAE, decode_step
from avacast.engine.pipeline import Pipeline
from avacast.engine.plan import PlannedClip, PlannedDecoder, PlannedDiT, PlannedSpeechEncoder, Plans
from avacast.engine.profile import Profile
from avacast.engine.sample_tail import Samples
from avacast.engine.speech_encoder import SpeechEncoder
from avacast.engine.static_form import StaticShape
from avacast.engine.step_graph import StepGraph, step_tensors, still_conditions
from avacast.engine.still_conditions import MAX_STILL
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
    planned = PlannedDiT(dit, [session])
    assert torch.equal(planned(**short, **still), dit(**short, **still))
    assert session.num_calls == 0
    assert len(planned.still) == 0, "keys that no graph reads are not made"


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
    assert len(planned.still) == 2 * MAX_STILL, "texts and pictures"


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


@dataclass
class ModuleSession:
    """A network of one input in PyTorch, as a graph would run it in half precision; counts its calls."""

    module: nn.Module
    signature: GraphSignature
    runtime: str = "PyTorch"
    num_calls: int = 0

    def __call__(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        self.num_calls += 1
        (given,) = inputs.values()
        return (self.module(given).half(),)


def module_session(module: nn.Module, name: str, *shape: int) -> ModuleSession:
    return ModuleSession(module, GraphSignature((TensorSpec(name, shape, torch.float16),), ()))


def heard(pipeline: Pipeline, encoder: SpeechEncoder, sound: Samples) -> tuple[Tensor, Tensor]:
    """The features of a whole stream, taken window by window."""
    config = pipeline.config
    features = open_features(encoder, config, config.window)
    features.push(sound)
    features.flush()
    taken = [features.take(i, i + config.window.hop) for i in range(0, 10, config.window.hop)]
    return torch.cat([audio for audio, _ in taken]), torch.cat([mask for _, mask in taken])


@pytest.mark.parametrize("kind", ["tiny_pipeline", "released_pipeline"])
def test_sound_of_a_graphs_length_is_heard_by_the_graph(kind: str, request: pytest.FixtureRequest, noise_3s: Samples):
    """A stream's runs have that length from some point on, a window's sound always; the features are the same."""
    pipeline: Pipeline = request.getfixturevalue(kind)
    config, encoder = pipeline.config, pipeline.networks.speech_encoder
    window = replace(config.window, window=config.window.hop) if config.audio.alignment == "window" else config.window
    shape = StaticShape(config, Profile(window), 1, torch.float16)
    session = module_session(encoder, "waveform", 1, shape.num_samples)
    planned = PlannedSpeechEncoder(encoder, [session])
    (audio, mask), (expected, expected_mask) = (heard(pipeline, one, noise_3s) for one in (planned, encoder))
    assert session.num_calls > 1
    assert audio.dtype == torch.float32
    assert torch.equal(mask, expected_mask)
    torch.testing.assert_close(audio, expected, atol=2e-3, rtol=2e-3)


def test_a_planned_encoder_shares_the_weights_and_knows_silence(tiny_encoder: SpeechEncoder):
    """It needs no memory for a second set, and silence is what it is to the network."""
    planned = PlannedSpeechEncoder(tiny_encoder, [])
    assert {id(p) for p in planned.parameters()} == {id(p) for p in tiny_encoder.parameters()}
    assert not planned.training
    torch.testing.assert_close(planned.silence, tiny_encoder.silence)


def test_a_session_hears_and_sees_through_graphs(released_pipeline: Pipeline, noise_3s: Samples):
    """Pictures of the model's size and sound of a window's length; other sizes go to the tower itself."""
    config, networks = released_pipeline.config, released_pipeline.networks
    assert networks.clip is not None
    shape = StaticShape(config, config.profile("mic"), 1, torch.float16)
    seeing = module_session(networks.clip, "picture", 1, 3, config.height, config.width)
    hearing = module_session(networks.speech_encoder, "waveform", 1, shape.num_samples)
    clip = PlannedClip(networks.clip, [seeing])
    plans = Plans(speech_encoder=PlannedSpeechEncoder(networks.speech_encoder, [hearing]), clip=clip)
    picture = np.full((config.height, config.width, 3), 90, np.uint8)
    session = Pipeline(config, replace(networks, plans=plans)).open_session(picture)
    assert seeing.num_calls == 1
    session.push(noise_3s)
    session.pull()
    assert hearing.num_calls > 0
    larger = torch.rand(1, 3, 80, 80)
    assert torch.equal(clip(larger), networks.clip(larger))
    assert seeing.num_calls == 1
