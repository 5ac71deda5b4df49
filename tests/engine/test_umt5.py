"""The UMT5 text encoder against the released one."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from avacast.engine.umt5 import Umt5, Umt5Config, from_public_names


@torch.inference_mode()
def test_hidden_states_match(umt5_golden: Path):
    """Token ids in the public weights give the public states; those of padding are zero."""
    d = json.loads(umt5_golden.read_text())
    config = Umt5Config(
        vocab_size=d["vocab"],
        dim=d["dim"],
        attention_dim=d["dim_attn"],
        ffn_dim=d["dim_ffn"],
        num_heads=d["num_heads"],
        num_layers=d["num_layers"],
        num_buckets=d["num_buckets"],
    )
    encoder = Umt5(config).eval()
    weights = load_file(umt5_golden.with_suffix(".weights.safetensors"))
    encoder.load_state_dict(from_public_names(weights), strict=True)
    io = load_file(umt5_golden.with_suffix(".io.safetensors"))
    mask = io["attention_mask"].bool()
    states = encoder(io["input_ids"], mask)
    assert states.shape == io["hidden"].shape
    assert (states[mask] - io["hidden"][mask]).norm() / io["hidden"][mask].norm() < 1e-5
    assert not states[~mask].any()


def test_every_public_tensor_of_the_encoder_is_placed(stableavatar_golden: Path):
    """At full size, converted names and shapes are exactly the network's."""
    released = json.loads(stableavatar_golden.read_text())["tensors"]["text_encoder"]
    with torch.device("meta"):
        weights = {name: torch.empty(shape) for name, shape in released.items()}
        expected = {name: tensor.shape for name, tensor in Umt5(Umt5Config()).state_dict().items()}
    assert {name: tensor.shape for name, tensor in from_public_names(weights).items()} == expected
