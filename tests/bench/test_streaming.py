"""The profiles side by side: every case is measured, and what is compared with the offline loop is."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from avacast.bench import streaming as module
from avacast.bench.held_out_clip import HeldOutClip
from avacast.bench.long_stream import Turns
from avacast.bench.streaming import CASES, measure, psnr_db, streaming
from avacast.engine.pipeline import Pipeline


def test_psnr_of_a_known_difference():
    """One level everywhere: 20 log10 255; equal frames are infinitely close."""
    frames = np.zeros((2, 8, 8, 3), np.uint8)
    assert psnr_db(frames, frames + 1) == pytest.approx(20 * math.log10(255))
    assert psnr_db(frames, frames) == math.inf


def test_each_case_shows_what_it_is(tiny_pipeline: Pipeline, clip: HeldOutClip):
    """Latency rises with look-ahead, offline equals itself, two steps a hop, and all that is streamed is told."""
    short = replace(clip, samples=clip.samples[: 60 * 640])
    frames: list[int] = []
    turns = Turns.lasting([short], 0.05 * 60)
    measured = measure(tiny_pipeline, CASES, [short], turns, lambda: frames.append(1))
    rows = {row.case: row for row in measured}
    assert list(rows) == [case.name for case in CASES]
    assert len(frames) == len(CASES) * (60 + 60)
    mic, spoken, at_once, offline = (rows[n] for n in ("mic", "tts, as spoken", "tts, sound at once", "offline"))
    assert mic.latency_ms < spoken.latency_ms == at_once.latency_ms < offline.latency_ms
    assert offline.psnr_to_offline_db == math.inf
    assert all(math.isfinite(row.psnr_to_offline_db) for row in (mic, spoken))
    assert {row.passes_per_hop for row in rows.values()} == {2.0}
    assert (mic.hop_media_ms, offline.hop_media_ms) == (160, 320)
    for row in rows.values():
        assert 0 < row.real_time_factor < 100
        assert row.long.early_memory_mb > 0
        assert row.long.colour_drift >= 0


def test_one_profile_by_itself_is_compared_with_nothing(tiny_pipeline: Pipeline, clip: HeldOutClip):
    """There is no offline loop beside it."""
    short = replace(clip, samples=clip.samples[: 30 * 640])
    (row,) = measure(tiny_pipeline, CASES[1:2], [short], Turns.lasting([short], 1.0))
    assert row.case == "mic"
    assert math.isnan(row.psnr_to_offline_db)
    assert math.isfinite(row.long.colour_drift)


def test_the_command_prints_a_table_and_a_line_of_json(
    tiny_bundle: Path, clip: HeldOutClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    short = replace(clip, samples=clip.samples[: 50 * 640], seed=4)
    monkeypatch.setattr(module, "read_held_out", lambda _: [short])
    application = typer.Typer()
    application.command()(streaming)
    file = tmp_path / "streaming.json"
    arguments = ["--bundle", str(tiny_bundle), "--minutes", "0.05", "--threads", "1", "--json", str(file)]
    done = CliRunner().invoke(application, arguments, env={"COLUMNS": "160"})
    assert done.exit_code == 0, done.output
    assert "memory, 0.0067 min" in done.stdout
    result = json.loads(done.stdout.splitlines()[-1])
    assert result == json.loads(file.read_text())
    assert result["figures"]["clip_seeds"] == {"painted": 4}
    assert [row["psnr_to_offline_db"] is None for row in result["figures"]["rows"]] == [True, False, False, False]
