"""The static form of a pass."""

from __future__ import annotations

import torch

from avacast.engine.config import DiTConfig
from avacast.engine.dit import DiT
from avacast.engine.step_graph import StepGraph, step_tensors, still_conditions

SIZES = {
    "dim": 32,
    "ffn_dim": 64,
    "num_heads": 2,
    "num_layers": 2,
    "freq_dim": 32,
    "latent_channels": 4,
    "audio_in_dim": 12,
    "audio_num_heads": 2,
    "audio_num_layers": 1,
}


def inputs(config: DiTConfig, batch: int) -> dict[str, torch.Tensor | None]:
    torch.manual_seed(5)
    return {
        "latents": torch.randn(batch, 4, 3, 4, 4),
        "timestep": torch.tensor([900.0, 25.0][:batch]),
        "reference": torch.randn(batch, 8, 3, 4, 4),
        "audio": torch.randn(batch, 3, 5, 12),
        "audio_mask": torch.rand(batch, 3, 5) > 0.3,
        "text": torch.randn(batch, config.text_len, config.text_dim) if config.text_dim else None,
        "image": torch.randn(batch, 257, config.clip_dim) if config.clip_dim else None,
        "motion": torch.randn(batch, 3, config.motion_dim) if config.motion_dim else None,
    }


def both(config: DiTConfig, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What the network and its static form make of the same inputs."""
    torch.manual_seed(0)
    dit = DiT(config).eval().requires_grad_(False)
    for layer in (dit.head.head, *([dit.motion_embedding[-1]] if config.motion_dim else [])):
        torch.nn.init.xavier_uniform_(layer.weight)
    given = inputs(config, batch)
    text, image = given.pop("text"), given.pop("image")
    tensors = {**step_tensors(dit, **given), **still_conditions(dit, text, image)}
    return dit(**given, text=text, image=image), StepGraph(dit)(**tensors)


def test_with_text_and_picture_the_static_form_computes_exactly_what_the_network_does():
    """Keys and values of text and picture, the tables and the sinusoids are made once and given; nothing else is."""
    expected, output = both(DiTConfig(**SIZES, text_dim=24, text_len=7, clip_dim=16), 2)
    assert torch.equal(output, expected)
    assert expected.abs().max() > 0.1


def test_with_head_motion_the_static_form_computes_exactly_what_the_network_does():
    """A model of the pocket kind: no text, no picture, motion for every latent frame."""
    expected, output = both(DiTConfig(**SIZES, text_dim=0, clip_dim=0, motion_dim=6, reference_on="all"), 2)
    assert torch.equal(output, expected)


def test_a_model_without_still_conditions_has_none():
    """No keys and no values are made where there is neither text nor picture."""
    assert still_conditions(DiT(DiTConfig(**SIZES, text_dim=0, clip_dim=0)), None, None) == {}
