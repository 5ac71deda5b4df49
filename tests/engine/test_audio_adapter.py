"""The audio adapter alone, against the released one."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import torch
from safetensors.torch import load_file

from avacast.engine.audio_adapter import AudioAdapter
from avacast.engine.audio_split import window_split
from avacast.engine.config import DiTConfig

PREFIX = "vocal_projector."


def load(path: Path) -> tuple[AudioAdapter, DiTConfig]:
    model = json.loads(path.read_text())["model"]
    known = {field.name for field in fields(DiTConfig)}
    config = DiTConfig.from_dict({name: value for name, value in model.items() if name in known})
    adapter = AudioAdapter(config)
    weights = load_file(path.with_suffix(".weights.safetensors"))
    adapter.load_state_dict({k.removeprefix(PREFIX): v for k, v in weights.items() if k.startswith(PREFIX)})
    return adapter, config


@torch.inference_mode()
def test_the_adapter_alone_matches(dit_golden: Path):
    """Tokens cut before the adapter, padding zeroed after its norm, give what the released order of work gives."""
    adapter, _ = load(dit_golden)
    io = load_file(dit_golden.with_suffix(".io.safetensors"))
    num_frames = json.loads(dit_golden.read_text())["video_frames"]
    index, mask = window_split(io["audio"].shape[1], num_frames, margin=4)
    result = adapter(io["audio"][:, index], mask[None], io["adapter_latents"], io["adapter_e"], io["adapter_e0"])
    assert result.shape == io["adapter_out"].shape
    assert (result - io["adapter_out"]).norm() / io["adapter_out"].norm() < 1e-5


@torch.inference_mode()
def test_a_latent_frame_sees_its_own_patches_only(dit_golden: Path):
    """Changing the patches of one latent frame changes the audio context of that frame and of no other."""
    adapter, config = load(dit_golden)
    audio, mask = torch.randn(1, 3, 5, config.audio_in_dim), torch.ones(1, 3, 5, dtype=torch.bool)
    patches, embedding, timestep = (
        torch.randn(1, 12, config.dim),
        torch.randn(1, config.dim),
        torch.randn(1, 6, config.dim),
    )
    before = adapter(audio, mask, patches, embedding, timestep)
    patches[:, 4:8] += 1
    after = adapter(audio, mask, patches, embedding, timestep)
    assert (after != before).flatten(2).any(2).tolist() == [[False, True, False]]
