"""The CLIP visual tower against the released one."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import torch
from safetensors.torch import load_file

from avacast.engine.clip import ClipVision, from_public_names
from avacast.engine.config import ClipConfig


@torch.inference_mode()
def test_image_tokens_match(clip_golden: Path):
    """A picture in the public weights gives the public tokens; every weight that is run has found its place."""
    description = json.loads(clip_golden.read_text())
    weights = load_file(clip_golden.with_suffix(".weights.safetensors"))
    known = {field.name for field in fields(ClipConfig)}
    mlp_dim = len(weights["visual.transformer.0.mlp.0.bias"])
    config = ClipConfig(mlp_dim=mlp_dim, **{k: v for k, v in description.items() if k in known})
    tower = ClipVision(config).eval()
    tower.load_state_dict(from_public_names(weights, config), strict=True)
    io = load_file(clip_golden.with_suffix(".io.safetensors"))
    tokens = tower(io["image"] / 2 + 0.5)
    assert tokens.shape == io["features"].shape
    assert (tokens - io["features"]).norm() / io["features"].norm() < 1e-5


def test_every_public_tensor_of_the_tower_is_placed(stableavatar_golden: Path):
    """At full size, converted names and shapes are exactly the network's."""
    released = json.loads(stableavatar_golden.read_text())["tensors"]["clip_visual"]
    with torch.device("meta"):
        config = ClipConfig()
        weights = {name: torch.empty(shape) for name, shape in released.items()}
        expected = {name: tensor.shape for name, tensor in ClipVision(config).state_dict().items()}
    assert {name: tensor.shape for name, tensor in from_public_names(weights, config).items()} == expected
