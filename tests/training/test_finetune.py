"""Fine-tuning end to end at a tiny size: videos in, a model out, by adapters and by all weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from avacast.engine.bundle import load_bundle
from avacast.engine.device import chosen_device
from avacast.engine.errors import BadBundle, BadSetting, Unavailable
from avacast.engine.pipeline import Pipeline
from avacast.training.finetune import finetune, run_finetune
from avacast.training.finetune_folder import FinetuneFolder
from avacast.training.finetune_recipe import FinetuneRecipe
from avacast.training.finetuning import Finetuning

# Autocast meets RMSNorm's float32 weight with bfloat16 input; torch says so once and computes in float32.
pytestmark = pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")

ADAPTERS = FinetuneRecipe(
    num_steps=6, batch_size=2, lr=1e-2, lora_rank=2, checkpoint_every=4, preview_steps=1, recompute=False
)
ALL_WEIGHTS = replace(ADAPTERS, lora_rank=0, lr=1e-3)


@pytest.fixture(scope="module")
def videos(write_video: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos of different makes, one with a mask of the lips."""
    folder = tmp_path_factory.mktemp("videos")
    write_video(folder / "talk.mp4", num_frames=20)
    replace(write_video, codec="mpeg4", sound_codec="mp2", rate_hz=48_000)(folder / "more.avi", num_frames=30, fps=50)
    lips = np.zeros((40, 48), np.uint8)
    lips[20:30, 16:32] = 255
    Image.fromarray(lips).save(folder / "talk.lips.png")
    return folder


@pytest.fixture(scope="module")
def adapted(released_bundle: Path, videos: Path, tmp_path_factory: pytest.TempPathFactory) -> FinetuneFolder:
    """A whole run of the released kind of model, with adapters."""
    return run_finetune(released_bundle, videos, tmp_path_factory.mktemp("adapted") / "run", ADAPTERS)


def spoken(bundle: Path) -> np.ndarray:
    """Frames that a model makes of half a second of sound."""
    session = Pipeline.load(bundle, dtype=torch.float32).open_session(np.full((64, 64, 3), 90, np.uint8))
    session.push((0.1 * np.random.default_rng(0).standard_normal(8000)).astype(np.float32))
    session.flush()
    frames = []
    while not session.finished:
        frames += session.pull()
    return np.stack([frame.image for frame in frames]).astype(int)


def weights(folder: FinetuneFolder) -> dict[str, torch.Tensor]:
    return load_file(folder.bundle / "dit.safetensors")


def stop_and_go_on(bundle: Path, videos: Path, output: Path, recipe: FinetuneRecipe) -> FinetuneFolder:
    """A run that is interrupted after step 5, one after its checkpoint, and then started again."""

    def stop_in_time(steps_done: int, _loss: float) -> None:
        if steps_done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_finetune(bundle, videos, output, recipe, on_step=stop_in_time)
    assert not (output / "bundle").exists()
    done: list[int] = []
    resumed = run_finetune(bundle, videos, output, recipe, on_step=lambda step, _loss: done.append(step))
    assert done == [5, 6]
    return resumed


def test_adapters_that_were_stopped_end_at_the_very_same_weights(
    adapted: FinetuneFolder, released_bundle: Path, videos: Path, tmp_path: Path
):
    """Stopped between two checkpoints and started again: weights, adapter and previews are equal to the bit."""
    resumed = stop_and_go_on(released_bundle, videos, tmp_path / "stopped", ADAPTERS)
    assert all(torch.equal(tensor, weights(resumed)[name]) for name, tensor in weights(adapted).items())
    assert adapted.adapter.read_bytes() == resumed.adapter.read_bytes()
    for num_steps in (4, 6):
        assert adapted.preview(num_steps).read_bytes() == resumed.preview(num_steps).read_bytes()


def test_all_weights_that_were_stopped_end_at_the_very_same_weights(pocket_bundle: Path, videos: Path, tmp_path: Path):
    """The same for `--full`, which changes every part of the transformer and writes no adapter."""
    whole = run_finetune(pocket_bundle, videos, tmp_path / "whole", ALL_WEIGHTS)
    resumed = stop_and_go_on(pocket_bundle, videos, tmp_path / "stopped", ALL_WEIGHTS)
    assert all(torch.equal(tensor, weights(resumed)[name]) for name, tensor in weights(whole).items())
    assert not whole.adapter.exists()
    stored = load_bundle(pocket_bundle).tensors("dit")
    changed = {
        name.partition(".")[0] for name, tensor in weights(whole).items() if not torch.equal(tensor, stored[name])
    }
    assert {"patch_embedding", "time_projection", "vocal_projector", "blocks", "head"} <= changed


def test_the_merged_adapter_changes_what_is_shown(adapted: FinetuneFolder, released_bundle: Path):
    """The bundle that is written opens as any other; its frames differ from those of the model it came from."""
    before, after = spoken(released_bundle), spoken(adapted.bundle)
    assert before.shape == after.shape == (13, 32, 32, 3)
    assert np.abs(before - after).max() > 2


def test_only_the_adapted_layers_change(adapted: FinetuneFolder, released_bundle: Path):
    """Every other weight, and every other network, is the same to the byte; the configuration too."""
    old, new = load_bundle(released_bundle), load_bundle(adapted.bundle)
    assert old.config == new.config
    changed = {file for file in old.manifest.entries if old.manifest.entries[file] != new.manifest.entries[file]}
    assert changed == {"dit.safetensors"}
    before, after = old.tensors("dit"), new.tensors("dit")
    differing = {name for name in before if not torch.equal(before[name], after[name])}
    adapter = load_file(adapted.adapter)
    assert differing == {f"{name.removesuffix('.lora_b')}.weight" for name in adapter if name.endswith(".lora_b")}
    assert {"blocks.0.self_attn.q.weight", "blocks.0.ffn.2.weight", "blocks.0.cross_attn.k_vocal.weight"} <= differing


def test_the_bare_adapter_is_all_that_was_learnt(adapted: FinetuneFolder, released_bundle: Path):
    """A and B by the layers' names, with alpha and what they belong to: added by hand they give the same weights."""
    with safe_open(adapted.adapter, "pt") as file:
        metadata = json.loads(file.metadata()["lora"])
    manifest = load_bundle(released_bundle).manifest
    assert metadata == {"alpha": 16.0, "dit_sha256": manifest.entries["dit.safetensors"].sha256}
    adapter, stored, merged = load_file(adapted.adapter), load_bundle(released_bundle).tensors("dit"), weights(adapted)
    name = "blocks.0.self_attn.v"
    a, b = adapter[f"{name}.lora_a"], adapter[f"{name}.lora_b"]
    assert a.shape == (2, 16)
    torch.testing.assert_close(merged[f"{name}.weight"], stored[f"{name}.weight"] + 16 / 2 * b @ a)


def test_an_adapter_that_was_not_trained_changes_nothing(released_bundle: Path):
    """Before the first step the merged weights are the old ones, to the bit."""
    pipeline, stored = Pipeline.load(released_bundle, dtype=torch.float32), load_bundle(released_bundle).tensors("dit")
    untrained = Finetuning(pipeline.networks, pipeline.config, ADAPTERS, seed=0).merged(stored)
    assert all(torch.equal(tensor, untrained[name]) for name, tensor in stored.items())


def test_a_preview_shows_true_above_generated(adapted: FinetuneFolder):
    """Two rows of eight pictures at every checkpoint."""
    for num_steps in (4, 6):
        with Image.open(adapted.preview(num_steps)) as preview:
            assert preview.size == (8 * 32, 2 * 32)


@pytest.mark.parametrize(("kind", "recipe"), [("released_bundle", ADAPTERS), ("pocket_bundle", ALL_WEIGHTS)])
def test_the_loss_falls(
    kind: str, recipe: FinetuneRecipe, write_video: Any, tmp_path: Path, request: pytest.FixtureRequest
):
    """A few dozen steps on a single clip: what is asked again and again is learnt, whatever the network predicts."""
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "one.mp4", num_frames=9)
    losses: list[float] = []
    longer = replace(recipe, num_steps=48, batch_size=4, lr=1e-2, checkpoint_every=48)
    run_finetune(
        request.getfixturevalue(kind),
        tmp_path / "videos",
        tmp_path / "run",
        longer,
        on_step=lambda _step, loss: losses.append(loss),
    )
    assert np.mean(losses[-8:]) < 0.8 * np.mean(losses[:8])


def test_recomputing_blocks_gives_the_same_weights(
    adapted: FinetuneFolder, released_bundle: Path, videos: Path, tmp_path: Path
):
    """It saves memory and changes nothing else."""
    again = run_finetune(released_bundle, videos, tmp_path / "run", replace(ADAPTERS, recompute=True))
    for name, tensor in weights(again).items():
        torch.testing.assert_close(tensor, weights(adapted)[name])


def test_a_run_goes_on_only_as_it_was_begun(adapted: FinetuneFolder, released_bundle: Path, videos: Path):
    """Another recipe or seed in the same folder is refused, and what is there stays as it was."""
    before = adapted.checkpoint.read_bytes()
    for recipe, seed, what in ((replace(ADAPTERS, lr=1e-3), 0, "recipe"), (ADAPTERS, 1, "seed")):
        with pytest.raises(BadSetting, match=f"begun with another {what}"):
            run_finetune(released_bundle, videos, adapted.path, recipe, seed=seed)
    assert adapted.checkpoint.read_bytes() == before


def test_a_finished_run_writes_its_bundle_again(adapted: FinetuneFolder, released_bundle: Path, videos: Path):
    """The same command on a finished folder trains nothing and gives the same model."""
    before, steps = weights(adapted), list[int]()
    run_finetune(released_bundle, videos, adapted.path, ADAPTERS, on_step=lambda step, _loss: steps.append(step))
    assert steps == []
    assert all(torch.equal(tensor, weights(adapted)[name]) for name, tensor in before.items())


def test_the_command_tells_mistakes_in_one_line(released_bundle: Path, videos: Path, tmp_path: Path):
    """Before anything is written."""
    output = tmp_path / "run"
    with pytest.raises(BadSetting, match="give one of them"):
        finetune(released_bundle, videos, output, full=True, lora_rank=4)
    with pytest.raises(BadSetting, match="'tpu9' is no device"):
        finetune(released_bundle, videos, output, device="tpu9")
    with pytest.raises(BadBundle, match="no model folder"):
        run_finetune(tmp_path / "nowhere", videos, output, ADAPTERS)
    with pytest.raises(BadSetting, match="holds no video files"):
        run_finetune(released_bundle, tmp_path, output, ADAPTERS)
    with pytest.raises(BadSetting, match="lies in 'attn'"):
        run_finetune(released_bundle, videos, output, replace(ADAPTERS, lora_targets=("attn",)))
    with pytest.raises(BadSetting, match="is the bundle that is read"):
        run_finetune(released_bundle, videos, released_bundle.parent, ADAPTERS)


def test_a_gpu_is_taken_where_there_is_one():
    assert chosen_device("cpu") == "cpu"
    assert chosen_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    if not torch.cuda.is_available():
        with pytest.raises(Unavailable, match="--device cpu"):
            chosen_device("cuda")
