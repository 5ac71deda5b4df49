"""The GPU report: it runs where there is little but torch, keeps what it measured, and its figures fit each other."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from rich.console import Console
from typer.testing import CliRunner

from avacast.bench.gpu import BUDGET_S, GRACE_S, SECTIONS, Section, _run, gpu
from avacast.bench.gpu_tables import tables
from avacast.bench.gpu_targets import TARGETS, judged, look_up, summary
from avacast.bench.gpu_workload import FULL, TINY
from avacast.bench.workbench import Workbench
from avacast.engine.errors import BadSetting, Unavailable

CHECKOUT = Path(__file__).parents[2]

BARE_MACHINE = """
import sys

for name in (
    "aiortc av cv2 diffusers einops espeakng_loader fastapi hypothesis onnxruntime playwright pytest scipy soundfile "
    "soxr tensorrt tensorrt_rtx uvicorn websockets"
).split():
    sys.modules[name] = None

import torch

torch.set_num_threads(1)
from avacast.bench.gpu import main

main()
"""
"""Torch, triton, transformers and what these bring along are there; nothing else that avacast can use is."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A whole run at the tiny size, from a checkout, as on a bare machine."""
    folder = tmp_path_factory.mktemp("report")
    script, file = folder / "bare.py", folder / "gpu.json"
    script.write_text(BARE_MACHINE)
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / ".typings"), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, str(script), "--size", "tiny", "--device", "cpu", "--json", str(file)]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    saved = json.loads(file.read_text())
    printed = json.loads(done.stdout.splitlines()[-1])
    assert printed["figures"] == saved["figures"]
    return saved["figures"]


def test_every_section_runs_on_a_bare_machine(report: dict[str, Any]) -> None:
    """Without diffusers, aiortc, av, TensorRT, FastAPI and the rest, nothing fails and nothing falls back."""
    assert report["failed"] == {}
    assert report["not_compiled"] == {}
    assert report["not_captured"] == []
    assert all(report[section.name]["took_s"] > 0 for section in SECTIONS)


def test_every_cell_is_there(report: dict[str, Any]) -> None:
    """Each pass eager, compiled and graphed, with its operations and the share of the ceiling."""
    cells = report["forward"]["cells"]
    assert [(c["height"], c["width"], c["window"], c["batch"]) for c in cells] == TINY.forward_cells
    assert report["forward"]["left_out"] == []
    for cell in (*cells, *report["decoding"]["wan"], *report["decoding"]["tiny"]):
        for way in ("eager", "compiled", "graphed"):
            assert cell[f"{way}_ms"] > 0
            assert 0 < cell[f"{way}_share"] < 1
    assert set(report["blocks_ms"]) == {"compiled", "kernels"}
    assert all(cell["captured_ms"] > 0 for cell in report["decoding"]["wan"])
    assert cells[2]["tflop"] == pytest.approx(2 * cells[0]["tflop"], rel=0.01), "a batch of two is twice the work"


def test_streams_are_measured_both_ways(report: dict[str, Any]) -> None:
    """As graphs with either decoder, in batches, and through the engine's own session, eager and as graphs."""
    streams, sessions = report["pipeline"], report["session"]
    for way in (streams["graphed_wan"], streams["graphed_tiny"], sessions["eager"], sessions["graphed"]):
        assert way["frames_per_s"] == pytest.approx(25 * way["streams_at_25_fps"])
        assert way["first_frame_ms"] > 0
        assert way["interruption_to_silent_window_ms"] > 0
    assert [batch["streams"] for batch in report["pipeline"]["batches"]] == [2]
    assert all(sessions[way]["two_sessions_frames_per_s"] > 0 for way in ("eager", "graphed"))
    assert report["pipeline"]["graphed_wan"]["state_mb"] > report["pipeline"]["graphed_tiny"]["state_mb"]


def test_the_released_way_is_measured_beside_it(report: dict[str, Any]) -> None:
    """At equal steps and branches, and at its defaults; the ratio to ours is told."""
    equal, defaults = report["baseline"]["equal"], report["baseline"]["defaults"]
    assert (equal["num_branches"], defaults["num_branches"]) == (1, 3)
    assert (equal["window"], defaults["window"]) == (TINY.config.window.window, TINY.released_window.window)
    ours = report["pipeline"]["graphed_wan"]["frames_per_s"]
    assert report["summary"]["times_released_equal"] == pytest.approx(ours / equal["frames_per_s"])


def test_the_kernel_table_lists_every_kernel(report: dict[str, Any]) -> None:
    """Reference and compiled reference everywhere; the fused version and the verdict need a GPU."""
    from avacast.kernels.catalogue import KERNELS

    rows = report["kernels"]["kernels"]
    assert [row["name"] for row in rows] == [kernel.name for kernel in KERNELS]
    assert all(row["reference_us"] > 0 and row["compiled_us"] > 0 for row in rows)
    assert all("stays" not in row for row in rows)


def test_every_target_is_judged(report: dict[str, Any]) -> None:
    """What was measured is met or not; what needs a GPU is left open."""
    rows = {row["what"]: row for row in report["targets"]}
    assert len(rows) == len(TARGETS)
    for row in rows.values():
        assert (row["met"] is None) == (row["measured"] is None)
    assert rows["memory of the first session, GB"]["met"] is None
    assert rows["frames/s, Wan VAE"]["met"] is not None


def test_the_full_size_is_the_issue_of_a_gpu() -> None:
    """Without one it is refused in a sentence, and so is a device that is none."""
    for arguments, refusal in (
        (["--device", "cpu"], Unavailable),
        (["--device", "toaster"], BadSetting),
        (["--size", "tiny", "--device", "cpu", "--sections", "ceilings,lunch"], BadSetting),
    ):
        application = typer.Typer()
        application.command()(gpu)
        error = CliRunner().invoke(application, arguments).exception
        assert isinstance(error, refusal), error
        assert "\n" not in str(error)


def test_a_failing_section_costs_the_others_nothing() -> None:
    """What fails is told with its traceback; the sections before and after it are kept, each saved."""
    bench = Workbench(TINY, torch.device("cpu"), torch.float32)
    figures: dict[str, Any] = {"failed": {}}
    saved: list[set[str]] = []
    sections = [Section("broken", 10, "no_such_module"), Section("ceilings", 10, "ceilings")]
    _run(sections, bench, figures, 60, lambda: saved.append(set(figures)), Console(file=io.StringIO()))
    assert "no_such_module" in figures["failed"]["broken"]
    assert "Traceback" in figures["broken"]["traceback"]
    assert figures["ceilings"]["matrix_tflops"] > 0
    assert ["ceilings" in names for names in saved] == [False, True]


def test_when_the_time_is_over_the_rest_is_named() -> None:
    """No further cell is begun; what was left out stands in the result."""
    bench = Workbench(TINY, torch.device("cpu"), torch.float32)
    figures: dict[str, Any] = {"failed": {}}
    forward = [section for section in SECTIONS if section.name == "forward"]
    _run(forward, bench, figures, 0.0, lambda: None, Console(file=io.StringIO()))
    assert figures["failed"] == {}
    assert figures["forward"]["cells"] == []
    assert figures["forward"]["left_out"] == TINY.forward_cells


def test_the_full_size_measures_what_was_asked_for() -> None:
    """512x512 and 480x832; windows of 21, 13, 9 and 5; batches of 1, 2 and 4; 9 with 3 overlapped in four steps."""
    assert set(FULL.sizes) == {(512, 512), (480, 832)}
    assert (set(FULL.windows), set(FULL.batches)) == ({21, 13, 9, 5}, {1, 2, 4})
    assert FULL.forward_cells[0] == (512, 512, 9, 1), "the target's own cell comes first"
    assert (FULL.config.window.window, FULL.config.window.overlap, FULL.config.sampler.num_steps) == (9, 3, 4)
    assert sum(section.seconds for section in SECTIONS) <= BUDGET_S
    assert BUDGET_S + GRACE_S <= 9 * 60 - 20, "nine minutes hold it, and the imports"


def test_tables_show_what_is_there(report: dict[str, Any]) -> None:
    """A full result and one that was cut short after its first section are both printed."""
    for figures in (report, {"ceilings": report["ceilings"], "targets": judged({})}, {"pipeline": {"window": 9}}):
        console = Console(file=io.StringIO(), width=200)
        for table in tables(figures):
            console.print(table)
        assert "─" in console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]


def test_summaries_need_both_sides() -> None:
    """A ratio is told only where both of its sections were measured."""
    sections = {"pipeline": {"graphed_wan": {"frames_per_s": 60.0}}, "baseline": {"equal": {"frames_per_s": 20.0}}}
    assert summary(sections) == {"times_released_equal": 3.0}
    assert look_up(sections, ("baseline", "defaults", "frames_per_s")) is None
