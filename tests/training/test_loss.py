"""The loss of flow matching, for each thing that a network may predict."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from avacast.engine.config import DiTConfig
from avacast.engine.dit import DiT
from avacast.training.loss import draw_sigmas, flow_matching_loss

# Autocast meets RMSNorm's float32 weight with bfloat16 input; torch says so once and computes in float32.
pytestmark = pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")

CONFIG = DiTConfig(
    dim=16,
    ffn_dim=32,
    num_heads=2,
    num_layers=1,
    freq_dim=16,
    text_dim=12,
    text_len=8,
    clip_dim=16,
    audio_in_dim=16,
    audio_num_heads=2,
    audio_num_layers=1,
)


def batch_of(config: DiTConfig) -> dict[str, Tensor]:
    """Two samples of three latent frames."""
    random = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random)

    return {
        "sample": draw(2, 16, 3, 4, 4),
        "noise": draw(2, 16, 3, 4, 4),
        "sigma": torch.tensor([0.4, 1.0]),
        "reference": draw(2, 20, 3, 4, 4),
        "audio": draw(2, 3, 5, 16),
        "audio_mask": torch.ones(2, 3, 5, dtype=torch.bool),
        "weight": draw(2, 1, 3, 4, 4).abs(),
        "text": draw(2, 8, config.text_dim),
        "image": draw(2, 7, config.clip_dim),
    }


def dit_of(config: DiTConfig, *, silent_head: bool) -> DiT:
    torch.manual_seed(0)
    dit = DiT(config)
    if not silent_head:
        torch.nn.init.normal_(dit.head.head.weight)
    return dit


@pytest.mark.parametrize("prediction", ["velocity", "sample", "residual"])
def test_the_error_is_that_of_what_is_predicted(prediction: Literal["velocity", "sample", "residual"]):
    """A network whose output is zero makes a known error: all of the velocity, all of the sample, or all that the
    sample differs from the reference; weighted, and divided by the weights.
    """
    batch = batch_of(CONFIG)
    loss = flow_matching_loss(dit_of(dataclasses.replace(CONFIG, prediction=prediction), silent_head=True), batch)
    truth = {
        "velocity": batch["noise"] - batch["sample"],
        "sample": batch["sample"],
        "residual": batch["sample"] - batch["reference"][:, 4:],
    }[prediction]
    expected = (batch["weight"] * truth.square()).mean() / batch["weight"].mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


def test_only_what_is_weighted_counts():
    """An error outside the mask costs nothing."""
    batch = batch_of(CONFIG)
    dit = dit_of(CONFIG, silent_head=True)
    batch["weight"] = torch.zeros(2, 1, 3, 4, 4)
    batch["weight"][..., :2] = 1
    before = flow_matching_loss(dit, batch)
    batch["noise"][..., 2:] += 10
    assert torch.equal(flow_matching_loss(dit, batch), before)
    batch["noise"][..., :2] += 10
    assert flow_matching_loss(dit, batch) > before + 10


def test_who_does_not_hear_learns_nothing_of_the_sound():
    """Where `heard` is False another sound gives the same loss; where it is True, another one."""
    dit = dit_of(CONFIG, silent_head=False)
    batch = batch_of(CONFIG)
    other = {**batch, "audio": batch["audio"].flip(-1)}
    for heard in (False, True):
        flag = {"heard": torch.tensor([heard, heard])}
        losses = [flow_matching_loss(dit, {**voices, **flag}).item() for voices in (batch, other)]
        assert (losses[0] == losses[1]) != heard
    everyone = flow_matching_loss(dit, {**batch, "heard": torch.tensor([True, True])})
    assert everyone.item() == pytest.approx(flow_matching_loss(dit, batch).item(), rel=1e-3)


def test_noise_levels_lie_where_the_sampler_goes():
    """In (0, 1], the median where the shifted schedule has its own, and the share asked for at 1."""
    rng = np.random.default_rng(0)
    levels = draw_sigmas(rng, 20_000, 5.0, 0.0)
    assert levels.min() > 0
    assert levels.max() <= 1
    assert levels.median().item() == pytest.approx(5 * 0.51 / (1 + 4 * 0.51), abs=0.01)
    pure = draw_sigmas(rng, 20_000, 5.0, 0.3)
    assert (pure == 1).float().mean().item() == pytest.approx(0.3, abs=0.02)
