"""The comparison of fusions and guidances: what is a seam, whose lips are compared, and that all nine are there."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from numpy.typing import NDArray
from typer.testing import CliRunner

from avacast.bench import ablation as module
from avacast.bench.ablation import ablation, lip_correlation, measure, overlap_edges
from avacast.bench.held_out_clip import HeldOutClip
from avacast.engine.errors import BadSetting
from avacast.engine.guidance import Guidance
from avacast.engine.pipeline import Pipeline
from avacast.engine.profile import WindowConfig


def test_a_seam_is_where_an_overlap_begins_or_ends() -> None:
    """Windows of 6 every 4: overlaps are the latent frames 4 and 5, 8 and 9; latent frame l begins at 4l - 3."""
    edges = overlap_edges(41, WindowConfig(window=6, overlap=2))
    assert edges.tolist() == [13, 21, 29, 37]
    assert overlap_edges(13, WindowConfig(window=6, overlap=2)).tolist() == []


def test_the_true_mouth_follows_itself(
    clip: HeldOutClip, paint: Callable[[NDArray[np.float64]], NDArray[np.uint8]], opening: NDArray[np.float64]
) -> None:
    """Twice in a row as well; a mouth that answers late does not."""
    frames = paint(np.concatenate([opening, opening]))
    assert lip_correlation(frames, [clip, clip]) == pytest.approx(1.0)
    assert lip_correlation(np.roll(frames, 12, axis=0), [clip, clip]) < 0.5


def test_weights_and_guidance_reach_the_video(tiny_pipeline: Pipeline, clip: HeldOutClip) -> None:
    """Each changes what is measured, and the same again gives the same."""
    rows = [
        measure(tiny_pipeline, [clip], weights, name, guidance, 0.05)
        for weights, name, guidance in (
            ("log", "none", Guidance.none()),
            ("log", "none", Guidance.none()),
            ("fixed", "none", Guidance.none()),
            ("log", "audio-native", Guidance.audio_native(1, 1)),
        )
    ]
    assert rows[0] == rows[1]
    figures = {(row.colour_drift, row.background_difference) for row in rows}
    assert len(figures) == 3
    assert all(np.isfinite(row.seam_ratio) for row in rows)


def test_a_picture_of_another_size_is_refused(tiny_pipeline: Pipeline, clip: HeldOutClip) -> None:
    larger = replace(clip, portrait=np.zeros((256, 256, 3), np.uint8))
    with pytest.raises(BadSetting, match="64x64"):
        measure(tiny_pipeline, [larger], "log", "none", Guidance.none(), 0.05)


def test_the_command_compares_all_nine(
    tiny_bundle: Path, clip: HeldOutClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three fusions by three guidances, in a table and in one line of JSON."""
    monkeypatch.setattr(module, "read_held_out", lambda _: [clip, replace(clip, truth=None)])
    application = typer.Typer()
    application.command()(ablation)
    arguments = [
        "--bundle",
        str(tiny_bundle),
        "--minutes",
        "0.05",
        "--threads",
        "1",
        "--json",
        str(tmp_path / "a.json"),
    ]
    done = CliRunner().invoke(application, arguments)
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout.splitlines()[-1])
    assert result == json.loads((tmp_path / "a.json").read_text())
    rows = result["figures"]["rows"]
    assert len({(row["weights"], row["guidance"]) for row in rows}) == len(rows) == 9
