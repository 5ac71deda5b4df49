"""The loop that a graph captures: all steps of a window, with fusion, as one function of tensors."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from avacast.engine.config import ModelConfig
from avacast.engine.flow_matching import Schedule
from avacast.engine.graph import Graph, StaticBuffers
from avacast.engine.guidance import Conditioning
from avacast.engine.pipeline import Pipeline
from avacast.engine.profile import WindowConfig
from avacast.engine.window_loop import WindowLoop, fusion_weights
from avacast.engine.windows import overlap_weights


def conditions(config: ModelConfig, frames: int, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    height, width = config.latent_size
    channels = 4 + config.dit.latent_channels
    return {
        "reference": torch.randn(1, channels, frames, height, width, generator=generator),
        "audio": torch.randn(1, frames, 16, config.dit.audio_in_dim, generator=generator),
        "audio_mask": torch.ones(1, frames, 16, dtype=torch.bool),
    }


def by_hand(
    pipeline: Pipeline, noise: Tensor, given: dict[str, Tensor], window: WindowConfig, tails: list[Tensor] | None
) -> tuple[Tensor, list[Tensor]]:
    """A window's steps as the paper has them, one operation after another."""
    schedule, latents, kept = Schedule.of(pipeline.config.sampler), noise, []
    weights = torch.tensor(overlap_weights(window)).view(-1, 1, 1)
    for step, (sigma, sigma_next) in enumerate(pairwise(schedule.sigmas)):
        velocity = pipeline.networks.velocity(latents, sigma, schedule.timesteps[step], Conditioning(**given))
        latents = latents + (sigma_next - sigma) * velocity
        if tails is not None and (step > 0 or window.fuse_first_step):
            head = weights * latents[:, :, : window.overlap] + (1 - weights) * tails[step]
            latents = torch.cat((head, latents[:, :, window.overlap :]), dim=2)
        kept.append(latents[:, :, -window.overlap :])
    return latents, kept


@pytest.mark.parametrize("fuse_first_step", [True, False])
def test_one_graph_makes_every_window_of_a_stream(tiny_pipeline: Pipeline, fuse_first_step: bool):
    """A stream's first window and the later ones, fused with the tails carried in the graph, as written out by hand."""
    config = tiny_pipeline.config
    window = WindowConfig(window=4, overlap=2, ramp="open", fuse_first_step=fuse_first_step)
    schedule = Schedule.of(config.sampler)
    num_steps = len(schedule.timesteps)
    shape = (1, config.dit.latent_channels, window.window, *config.latent_size)
    inputs = {
        "noise": torch.zeros(shape),
        "tails": torch.zeros(num_steps, *shape[:2], window.overlap, *shape[3:]),
        "weights": fusion_weights(window, num_steps, first=True),
        **conditions(config, window.window, 0),
    }
    with torch.inference_mode():
        graph = Graph(WindowLoop.of(tiny_pipeline.networks, schedule), StaticBuffers(inputs))
        tails: list[Tensor] | None = None
        for index in range(3):
            given = conditions(config, window.window, index)
            noise = torch.randn(shape, generator=torch.Generator().manual_seed(10 + index))
            expected, tails = by_hand(tiny_pipeline, noise, given, window, tails)
            weights = fusion_weights(window, num_steps, first=index == 0)
            latents = graph(noise=noise, weights=weights, **given)["latents"]
            torch.testing.assert_close(latents, expected, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(graph.buffers["tails"], torch.stack(tails), atol=1e-5, rtol=1e-5)


def test_a_model_with_every_condition_runs(released_pipeline: Pipeline):
    """Text and image are handed on where the model has them, for a batch of windows at once."""
    config = released_pipeline.config
    batch, frames, (height, width) = 2, config.window.window, config.latent_size
    given = {name: torch.cat([x] * batch) for name, x in conditions(config, frames, 0).items()}
    given |= {"text": torch.randn(batch, 16, 24), "image": torch.randn(batch, 257, 16)}
    schedule = Schedule.of(config.sampler)
    num_steps, overlap = len(schedule.timesteps), config.window.overlap
    given["noise"] = torch.randn(batch, config.dit.latent_channels, frames, height, width)
    given["tails"] = torch.zeros(num_steps, batch, config.dit.latent_channels, overlap, height, width)
    given["weights"] = fusion_weights(config.window, num_steps, first=False)
    with torch.inference_mode():
        outputs = WindowLoop.of(released_pipeline.networks, schedule)(given)
        alone = WindowLoop.of(released_pipeline.networks, schedule)(
            {name: x if name == "weights" else x[:, :1] if name == "tails" else x[:1] for name, x in given.items()}
        )
    assert outputs["latents"].shape == given["noise"].shape
    torch.testing.assert_close(outputs["latents"][:1], alone["latents"], atol=1e-4, rtol=1e-4)


def test_a_first_window_is_left_as_it_is():
    """Its weights are one throughout; a later window's are the ramp, from the second step on where the first is not."""
    window = WindowConfig(window=5, overlap=3, ramp="open")
    assert fusion_weights(window, 2, first=True).eq(1).all()
    later = fusion_weights(window, 2, first=False)
    assert later[0].eq(1).all()
    assert later[1].tolist() == pytest.approx(list(overlap_weights(window)))
