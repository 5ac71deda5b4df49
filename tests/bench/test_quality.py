"""`avacast bench quality` on a real model and a clip on disk."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import typer
from PIL import Image
from typer.testing import CliRunner

from avacast.bench.clip_figures import Figures, figures_of
from avacast.bench.held_out_clip import HELD_OUT, HeldOutClip, Truth, read_held_out
from avacast.bench.quality import TARGETS, clip_table, measure, quality, quality_table, render
from avacast.engine.errors import BadSetting
from avacast.engine.face_reading import FaceReading
from avacast.engine.pipeline import Pipeline


def plain(value: Any) -> Any:
    """What JSON can hold of a field of the truth."""
    if isinstance(value, FaceReading):
        return {name: track.tolist() for name, track in vars(value).items()}
    return value.tolist() if isinstance(value, np.ndarray) else value


def write_clip(folder: Path, clip: HeldOutClip) -> None:
    """The files of a clip, as the recipe writes them."""
    assert clip.truth is not None
    truth = {name: plain(value) for name, value in vars(clip.truth).items()}
    truth["still_cells"] = ["".join(".#"[cell] for cell in row) for row in clip.truth.still_cells.astype(int)]
    description = {
        "voice": clip.voice,
        "recorded": clip.recorded,
        "fps": clip.fps,
        "seed": clip.seed,
        "boxes": vars(clip.boxes),
        "eyes_closed": clip.eyes_closed,
        "phonemes": [[phoneme.name, phoneme.start_s, phoneme.end_s] for phoneme in clip.phonemes],
        "truth": truth,
    }
    Image.fromarray(clip.portrait).save(folder / f"{clip.name}.png")
    soundfile.write(folder / f"{clip.name}.flac", clip.samples, 16_000, subtype="PCM_16")
    (folder / f"{clip.name}.json").write_text(json.dumps(description))


def test_a_clip_is_read_as_it_was_written(clip: HeldOutClip, tmp_path: Path) -> None:
    """Picture, sound (to its sixteen bits), phonemes and truth."""
    write_clip(tmp_path, clip)
    (read,) = read_held_out(tmp_path)
    assert np.array_equal(read.portrait, clip.portrait)
    assert read.samples == pytest.approx(clip.samples, abs=2 / 32768)
    assert (read.seed, read.boxes, read.eyes_closed) == (5, clip.boxes, clip.eyes_closed)
    assert (read.phonemes, read.num_frames) == (clip.phonemes, 120)
    assert isinstance(read.truth, Truth)
    assert isinstance(clip.truth, Truth)
    assert np.array_equal(read.truth.still_cells, clip.truth.still_cells)
    assert np.array_equal(read.truth.mouth_reading, clip.truth.mouth_reading)
    assert np.array_equal(read.truth.reading.sideways, clip.truth.reading.sideways)
    assert np.array_equal(read.truth.colours, clip.truth.colours)


def test_a_folder_without_clips_says_how_to_get_some(tmp_path: Path) -> None:
    """One line that names the folder and the command."""
    with pytest.raises(BadSetting, match="avacast train held-out"):
        read_held_out(tmp_path)


def test_a_clip_of_an_older_set_says_so(clip: HeldOutClip, tmp_path: Path) -> None:
    """One line that names the file and the command; a file that only lacks the seed is read with seed 0."""
    write_clip(tmp_path, clip)
    file = tmp_path / "painted.json"
    values = json.loads(file.read_text())
    del values["seed"]
    file.write_text(json.dumps(values))
    assert read_held_out(tmp_path)[0].seed == 0
    del values["boxes"]
    file.write_text(json.dumps(values))
    with pytest.raises(BadSetting, match=r"painted\.json is of another set"):
        read_held_out(tmp_path)


def test_the_head_is_told_to_move_as_the_true_one(tiny_pipeline: Pipeline, clip: HeldOutClip) -> None:
    """The session has the clip's seed: another gives other frames."""
    frames = render(tiny_pipeline, clip, "mic")
    assert np.array_equal(frames, render(tiny_pipeline, clip, "mic"))
    assert not np.array_equal(frames, render(tiny_pipeline, dataclasses.replace(clip, seed=6), "mic"))


def test_joints_are_those_of_the_profile(tiny_pipeline: Pipeline, clip: HeldOutClip) -> None:
    """The tts windows bring two latent frames at a time, the mic ones each."""
    mic, tts = (measure(tiny_pipeline, clip, profile) for profile in ("mic", "tts"))
    frames = render(tiny_pipeline, clip, "tts")
    assert tts == figures_of(frames, clip, tiny_pipeline.config.profile("tts").window)
    assert tts.window_joint != tts.latent_joint
    assert mic != tts


def test_a_model_of_another_size_is_refused(tiny_pipeline: Pipeline) -> None:
    """The shipped clips are 256 pixels wide, the tiny model 64: figures would mean nothing."""
    with pytest.raises(BadSetting, match="256x256"):
        measure(tiny_pipeline, read_held_out(HELD_OUT)[0])


def test_the_shipped_set_is_small_and_whole() -> None:
    """Eight voices of espeak-ng and two of people, six seconds a clip, all with truth, under three megabytes."""
    clips = read_held_out(HELD_OUT)
    assert [clip.recorded for clip in clips] == [False] * 8 + [True] * 4
    assert len({clip.voice for clip in clips}) == 10
    assert len({clip.seed for clip in clips}) == 12
    for clip in clips:
        assert clip.truth is not None
        assert clip.portrait.shape == (256, 256, 3)
        assert clip.num_frames == 150
    assert sum(file.stat().st_size for file in HELD_OUT.iterdir()) < 3_000_000


def test_an_untrained_model_does_not_pass(tiny_pipeline: Pipeline, clip: HeldOutClip) -> None:
    """The floor: its mouth follows nothing and its background is not the picture's."""
    figures = measure(tiny_pipeline, clip)
    assert figures.lip_correlation < 0.5
    assert figures.background_ssim < 0.9


def test_every_figure_has_a_target_and_a_line() -> None:
    """The table has a row for each figure, and columns for voices of either kind and the truth."""
    assert set(TARGETS) == set(vars(Figures()))
    table = quality_table(Figures(lip_correlation=0.5), Figures(lip_correlation=0.25), Figures())
    assert table.row_count == len(TARGETS)
    assert [column.header for column in table.columns] == ["figure", "target", "espeak-ng", "people", "true"]
    assert [next(iter(column.cells)) for column in table.columns][2:] == ["0.50", "0.25", ""]


def test_a_table_of_clips_names_each() -> None:
    """A line for every clip; a figure that a clip does not tell is an empty cell."""
    table = clip_table({"painted": Figures(lag_ms=40.0)})
    assert [list(column.cells) for column in table.columns][:4] == [["painted"], [""], ["40.00"], [""]]


def test_the_command_ends_with_one_line_of_json(tiny_bundle: Path, clip: HeldOutClip, tmp_path: Path) -> None:
    """It reports and exits with 0, however poor the model; the last line and the file hold the same result."""
    (tmp_path / "clips").mkdir()
    write_clip(tmp_path / "clips", clip)
    application = typer.Typer()
    application.command()(quality)
    file = tmp_path / "quality.json"
    arguments = [
        "--bundle",
        str(tiny_bundle),
        "--clips",
        str(tmp_path / "clips"),
        "--json",
        str(file),
        "--threads",
        "1",
    ]
    done = CliRunner().invoke(application, arguments)
    assert done.exit_code == 0, done.output
    assert "lip correlation" in done.stdout
    result = json.loads(done.stdout.splitlines()[-1])
    assert result == json.loads(file.read_text())
    assert set(result["figures"]["clips"]["painted"]) == set(TARGETS)
    assert result["figures"]["profile"] == "mic"
    assert result["figures"]["true"]["lip_correlation"] == pytest.approx(1.0)
