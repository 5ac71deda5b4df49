"""The comparison of windows: all combinations are there, and each setting reaches the stream."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from avacast.bench import windows as module
from avacast.bench.held_out_clip import HeldOutClip
from avacast.bench.windows import Case, cases, enough_clips, measure, windows
from avacast.engine.pipeline import Pipeline
from avacast.engine.presets import POCKET
from avacast.engine.profile import Profile, WindowConfig


def test_every_combination_is_compared_once():
    """Sixteen ways to fuse in the model's window, sixteen small windows; of a model of one step none looks ahead."""
    for num_steps, num_small in ((2, 16), (1, 8)):
        compared = cases(POCKET.window, num_steps)
        assert len(set(compared)) == len(compared)
        fusion = [case.profile for case in compared if case.table == "fusion"]
        latency = [case.profile for case in compared if case.table == "latency"]
        assert (len(fusion), len(latency)) == (16, num_small)
        assert {one.window.window for one in fusion} == {6}
        assert {(one.window.window, one.window.overlap) for one in latency} == {(4, 3), (4, 2), (3, 2), (6, 5)}
        assert all(one.window.held_back in (0, one.window.overlap) for one in latency)


def test_clips_are_taken_until_they_last_long_enough(clip: HeldOutClip):
    """4.8 s each."""
    clips = [replace(clip, name=str(number)) for number in range(4)]
    assert [one.name for one in enough_clips(clips, 9.6)] == ["0", "1"]
    assert [one.name for one in enough_clips(clips, 9.7)] == ["0", "1", "2"]
    assert len(enough_clips(clips, 600)) == 4


def test_each_setting_reaches_the_stream(tiny_pipeline: Pipeline, clip: HeldOutClip):
    """Ramp, first step, weights and look-ahead change what is measured; the same again gives the same."""
    short = replace(clip, samples=clip.samples[: 50 * 640])
    base = Profile(WindowConfig(window=6, overlap=4, ramp="open", fuse_first_step=True))
    others = [
        replace(base, window=replace(base.window, ramp="closed")),
        replace(base, window=replace(base.window, fuse_first_step=False)),
        replace(base, window=replace(base.window, weights="uniform")),
        replace(base, lookahead=1),
    ]
    rows = [measure(tiny_pipeline, [short], Case("fusion", profile)) for profile in (base, base, *others)]
    seams = [row.seam_ratio for row in rows]
    assert seams[0] == seams[1]
    assert len(set(seams)) == 5
    assert rows[-1].latency_ms == rows[0].latency_ms + 2 * 320
    # 50 frames are 14 latent frames, 5 windows of two steps, in 2 seconds.
    assert rows[0].passes_per_s == pytest.approx(5.0)


def test_the_command_prints_both_tables(
    tiny_bundle: Path, clip: HeldOutClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    short = replace(clip, samples=clip.samples[: 40 * 640])
    monkeypatch.setattr(module, "read_held_out", lambda _: [short])
    monkeypatch.setattr(module, "OVERLAPS", (2,))
    monkeypatch.setattr(module, "SMALL_WINDOWS", ((4, 2),))
    application = typer.Typer()
    application.command()(windows)
    file = tmp_path / "windows.json"
    arguments = ["--bundle", str(tiny_bundle), "--seconds", "1", "--threads", "1", "--json", str(file)]
    done = CliRunner().invoke(application, arguments, env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert "step 0 fused" in done.stdout
    assert "settle" in done.stdout
    result = json.loads(done.stdout.splitlines()[-1])
    assert result == json.loads(file.read_text())
    assert len(result["figures"]["rows"]) == 8 + 4
