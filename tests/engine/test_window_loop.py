"""The loop that a graph captures: all steps of a window, with fusion, as one function of tensors."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from avacast.engine.config import ModelConfig
from avacast.engine.dit import DiT
from avacast.engine.flow_matching import Schedule
from avacast.engine.graph_signature import TensorSpec
from avacast.engine.guidance import Conditioning
from avacast.engine.pipeline import Pipeline
from avacast.engine.presets import STABLEAVATAR_1_3B
from avacast.engine.profile import Profile, ProfileName, WindowConfig
from avacast.engine.static_form import StaticShape
from avacast.engine.step_graph import StepGraph, still_conditions
from avacast.engine.whole_window import WholeWindow, fusion_weights
from avacast.engine.window_loop import WindowLoop, loop_signature, loop_tensors
from avacast.engine.windows import overlap_weights


def conditions(config: ModelConfig, frames: int, seed: int, batch: int = 1) -> Conditioning:
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(batch, *shape, generator=generator)

    dit, channels = config.dit, 4 + config.dit.latent_channels
    return Conditioning(
        reference=random(channels, frames, *config.latent_size),
        audio=random(frames, 16, dit.audio_in_dim),
        audio_mask=torch.ones(batch, frames, 16, dtype=torch.bool),
        text=random(dit.text_len, dit.text_dim) if dit.text_dim else None,
        image=random(257, dit.clip_dim) if dit.clip_dim else None,
    )


def window_of(config: ModelConfig, frames: WindowConfig, seed: int, batch: int = 1) -> WholeWindow:
    """A window in the middle of a stream, of noise throughout."""
    generator = torch.Generator().manual_seed(seed)
    schedule = Schedule.of(config.sampler)
    channels, (height, width) = config.dit.latent_channels, config.latent_size
    tails = (schedule.num_steps, batch, channels, frames.overlap, height, width)
    return WholeWindow(
        torch.randn(batch, channels, frames.window, height, width, generator=generator),
        torch.randn(tails, generator=generator),
        fusion_weights(frames, schedule.num_steps, frames.overlap),
        schedule,
        conditions(config, frames.window, seed, batch),
    )


def run(pipeline: Pipeline, window: WholeWindow) -> Tensor:
    dit, given = pipeline.networks.dit, window.conditions
    with torch.inference_mode():
        still = still_conditions(dit, given.text, given.image)
        return WindowLoop(StepGraph(dit))({**loop_tensors(dit, window), **still})


def by_hand(pipeline: Pipeline, window: WholeWindow, frames: WindowConfig) -> list[Tensor]:
    """A window's steps as the paper has them, one operation after another."""
    schedule, latents, kept = window.schedule, window.noise, list[Tensor]()
    weights = torch.tensor(overlap_weights(frames)).view(-1, 1, 1)
    for step, (sigma, sigma_next) in enumerate(pairwise(schedule.sigmas)):
        velocity = pipeline.networks.velocity(latents, sigma, schedule.timesteps[step], window.conditions)
        latents = latents + (sigma_next - sigma) * velocity
        if step > 0 or frames.fuse_first_step:
            head = weights * latents[:, :, : frames.overlap] + (1 - weights) * window.tails[step]
            latents = torch.cat((head, latents[:, :, frames.overlap :]), dim=2)
        kept.append(latents)
    return kept


@pytest.mark.parametrize("fuse_first_step", [True, False])
@pytest.mark.parametrize("kind", ["tiny_pipeline", "released_pipeline"])
def test_the_loop_is_the_paper_s(kind: str, fuse_first_step: bool, request: pytest.FixtureRequest):
    """The window after every step is what it is written out by hand, with and without text and picture."""
    pipeline: Pipeline = request.getfixturevalue(kind)
    frames = WindowConfig(window=4, overlap=2, ramp="open", fuse_first_step=fuse_first_step)
    window = window_of(pipeline.config, frames, seed=1)
    with torch.inference_mode():
        expected = by_hand(pipeline, window, frames)
    torch.testing.assert_close(run(pipeline, window), torch.stack(expected), atol=1e-5, rtol=1e-5)


def test_a_batch_of_windows_is_each_of_them(released_pipeline: Pipeline):
    """Windows of several streams take their steps together."""
    config = released_pipeline.config
    both = window_of(config, config.window, seed=2, batch=2)
    given = {name: value[:1] for name, value in vars(both.conditions).items() if value is not None}
    alone = WholeWindow(both.noise[:1], both.tails[:, :1], both.weights, both.schedule, Conditioning(**given))
    torch.testing.assert_close(run(released_pipeline, both)[:, :1], run(released_pipeline, alone), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["tiny_pipeline", "released_pipeline"])
def test_the_signature_names_what_the_loop_takes(kind: str, request: pytest.FixtureRequest):
    """Names, shapes and types of a real window's tensors, but for audio: its tokens are as many as the model hears."""
    pipeline: Pipeline = request.getfixturevalue(kind)
    config, dit = pipeline.config, pipeline.networks.dit
    window = window_of(config, config.window, seed=3)
    given = {**loop_tensors(dit, window), **still_conditions(dit, window.conditions.text, window.conditions.image)}
    shape = StaticShape(config, Profile(config.window), 1, torch.float32)
    signature = loop_signature(shape, config.sampler.num_steps)
    heard = {"audio", "audio_mask"}
    named = {spec.name: spec for spec in signature.inputs}
    assert named.keys() == given.keys()
    assert {name: TensorSpec.of(name, tensor) for name, tensor in given.items() if name not in heard} == {
        name: spec for name, spec in named.items() if name not in heard
    }
    assert signature.outputs == (TensorSpec.of("windows", run(pipeline, window)),)


def test_a_first_window_is_left_as_it_is():
    """Its weights are one throughout; a later window's are the ramp, from the second step on where the first is not.

    A window that shares fewer frames than others has the ramp of so many.
    """
    window = WindowConfig(window=5, overlap=3, ramp="open")
    assert fusion_weights(window, 2, 0).eq(1).all()
    later = fusion_weights(window, 2, 3)
    assert later[0].eq(1).all()
    assert later[1].tolist() == pytest.approx(list(overlap_weights(window)))
    assert fusion_weights(window, 2, 1)[1].tolist() == pytest.approx([*overlap_weights(window, 1), 1, 1])


def test_weights_of_one_leave_a_window_as_it_is_to_the_bit(tiny_pipeline: Pipeline):
    """So a first window runs in the same graph as all others."""
    config = tiny_pipeline.config
    later = window_of(config, config.window, seed=4)
    first = WholeWindow(
        later.noise, torch.zeros_like(later.tails), torch.ones_like(later.weights), later.schedule, later.conditions
    )
    with torch.inference_mode():
        latents, schedule = first.noise, first.schedule
        for step, (sigma, sigma_next) in enumerate(pairwise(schedule.sigmas)):
            velocity = tiny_pipeline.networks.velocity(latents, sigma, schedule.timesteps[step], first.conditions)
            latents = latents + (sigma_next - sigma) * velocity
    assert torch.equal(run(tiny_pipeline, first)[-1], latents)


@pytest.mark.parametrize("name", ["mic", "tts"])
def test_nothing_in_the_loop_is_asked_for_by_the_host(name: ProfileName):
    """The released model's runs where tensors have no values at all: a step that read one would stop here."""
    config = STABLEAVATAR_1_3B
    shape = StaticShape(config, config.profile(name), 1, torch.bfloat16)
    inputs = loop_signature(shape, 4).zeros("meta")
    with torch.device("meta"):
        dit = DiT(config.dit)
    with torch.inference_mode():
        windows = WindowLoop(StepGraph(dit.to("meta", torch.bfloat16)))(inputs)
    assert windows.shape == (4, 1, 16, shape.num_latents, 64, 64)
