"""What is trained on at each step."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from avacast.engine.config import ModelConfig
from avacast.engine.presets import POCKET, STABLEAVATAR_1_3B
from avacast.training.clip_batches import ClipBatches
from avacast.training.finetune_recipe import FinetuneRecipe

WIDE = dataclasses.replace(STABLEAVATAR_1_3B, height=32, width=32)
RECIPE = FinetuneRecipe(batch_size=8)


def write_clip(path: Path, num_tokens: int, *, reference_frames: int = 3, mask: bool = True) -> Path:
    torch.manual_seed(num_tokens)
    lips = torch.zeros(3, 4, 4, dtype=torch.uint8)
    lips[:, 2:, 1:3] = 255
    clip = {
        "latents": torch.randn(16, 3, 4, 4).half(),
        "reference": torch.randn(16, reference_frames, 4, 4).half(),
        "audio": torch.randn(3, num_tokens, 8).half(),
        "audio_mask": torch.ones(3, num_tokens, dtype=torch.bool),
        "image": torch.randn(5, 6).half(),
    }
    save_file(clip | ({"lips": lips} if mask else {}), path)
    return path


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    """Two clips, one with fewer tokens to a latent frame."""
    return [write_clip(tmp_path / "a.safetensors", 17), write_clip(tmp_path / "b.safetensors", 15)]


def batches(clips: list[Path], recipe: FinetuneRecipe = RECIPE, config: ModelConfig = WIDE) -> ClipBatches:
    return ClipBatches(clips, config, recipe, torch.ones(1, 9, 4), seed=3)


def test_a_batch_is_a_function_of_seed_and_step(clips: list[Path]):
    """Asked for in any order it is the same to the bit; every step has another, and every seed."""
    first, second = batches(clips), batches(clips)
    later = second.at(7)
    assert all(torch.equal(tensor, second.at(7)[name]) for name, tensor in later.items())
    assert all(torch.equal(tensor, first.at(7)[name]) for name, tensor in later.items())
    assert not torch.equal(first.at(8)["noise"], later["noise"])
    assert not torch.equal(ClipBatches(clips, WIDE, RECIPE, None, seed=4).at(7)["noise"], later["noise"])


def test_shapes_are_those_of_the_transformer(clips: list[Path]):
    """Clips with fewer tokens are padded on the right, where the mask is False."""
    shapes = {name: tuple(tensor.shape) for name, tensor in batches(clips).at(0).items()}
    assert shapes == {
        "sample": (8, 16, 3, 4, 4),
        "noise": (8, 16, 3, 4, 4),
        "reference": (8, 20, 3, 4, 4),
        "audio": (8, 3, 17, 8),
        "audio_mask": (8, 3, 17),
        "image": (8, 5, 6),
        "text": (8, 9, 4),
        "weight": (8, 1, 3, 4, 4),
        "sigma": (8,),
        "heard": (8,),
    }
    batch = batches(clips).at(0)
    narrow = ~batch["audio_mask"][:, 0, -1]
    assert 0 < narrow.sum() < 8
    assert not batch["audio"][narrow][:, :, 15:].any()


def test_what_counts_follows_the_shares_of_the_paper(clips: list[Path]):
    """The lips alone in half of the samples, the face (here the whole frame) in a tenth, otherwise everything and
    both once more; whatever counts weighs 1 on average.
    """
    weight = torch.cat([batches(clips).at(step)["weight"] for step in range(60)])
    assert (weight.mean(dim=(1, 2, 3, 4)) - 1).abs().max() < 1e-5
    outside, inside = weight[:, 0, 0, 0, 0], weight[:, 0, 0, 2, 1]
    share = {"lips": (outside == 0), "face": (outside == inside), "all": (outside > 0) & (outside < inside)}
    assert share["lips"].float().mean().item() == pytest.approx(0.5, abs=0.06)
    assert share["face"].float().mean().item() == pytest.approx(0.1, abs=0.04)
    assert share["all"].float().mean().item() == pytest.approx(0.4, abs=0.06)
    assert (inside / outside)[share["all"]].unique().tolist() == pytest.approx([1.5])


def test_without_masks_every_cell_weighs_the_same(tmp_path: Path):
    clip = write_clip(tmp_path / "c.safetensors", 17, mask=False)
    assert batches([clip]).at(0)["weight"].unique().tolist() == [1.0]


def test_now_and_then_nothing_is_heard(clips: list[Path]):
    heard = torch.cat([batches(clips).at(step)["heard"] for step in range(60)])
    assert heard.float().mean().item() == pytest.approx(0.9, abs=0.04)


def test_a_model_that_is_told_how_the_head_moves_is_told_that_it_rests(tmp_path: Path):
    config = dataclasses.replace(POCKET, height=32, width=32)
    clip = write_clip(tmp_path / "c.safetensors", 16, reference_frames=1)
    motion = batches([clip], config=config).at(0)["motion"]
    assert motion.shape == (8, 3, 32)
    assert not motion.any()
