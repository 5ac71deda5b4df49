"""The GPU report: it runs where there is little but torch, keeps what it measured, and its figures fit each other."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from rich.console import Console
from torch import Tensor
from typer.testing import CliRunner

from avacast.bench.decoding import decoding
from avacast.bench.device_timer import Deadline
from avacast.bench.gpu import BUDGET_S, GRACE_S, SECTIONS, Section, _run, gpu
from avacast.bench.gpu_tables import STREAM_ROWS, headline, tables
from avacast.bench.gpu_targets import TARGETS, judged, look_up, summary
from avacast.bench.gpu_workload import FULL, TINY
from avacast.bench.kernel_table import kernel_table
from avacast.bench.watchdog import LAST_WORDS_S
from avacast.bench.workbench import CompiledOrPlain, Workbench
from avacast.engine.errors import BadSetting, Unavailable

CHECKOUT = Path(__file__).parents[2]
WAYS = ("eager", "captured", "compiled", "graphed")

BARE_MACHINE = """
import re
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

from packaging.requirements import Requirement


def named(distribution):
    return re.sub(r"[-_.]+", "-", distribution).lower()


installed, todo = {"avacast"}, sys.argv.pop(1).split()
while todo:
    name = named(todo.pop())
    if name not in installed:
        installed.add(name)
        try:
            wanted = [Requirement(line) for line in requires(name) or ()]
        except PackageNotFoundError:
            continue
        todo += [one.name for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
for module, distributions in packages_distributions().items():
    if not installed & set(map(named, distributions)):
        sys.modules[module] = None

import torch

torch.set_num_threads(1)
from avacast.bench.gpu import main

main()
"""
"""What the first argument names is there, and what these bring along; nothing else is, whatever this machine has."""

PACKAGES = "torch triton transformers numpy onnx"


def on_a_bare_machine(folder: Path, *arguments: str, packages: str = PACKAGES) -> subprocess.CompletedProcess[str]:
    """The command from a checkout that is not installed, at the tiny size."""
    script = folder / "bare.py"
    script.write_text(BARE_MACHINE)
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / ".typings"), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, str(script), packages, "--size", "tiny", "--device", "cpu", *arguments]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """What a whole run printed, and what it saved."""
    folder = tmp_path_factory.mktemp("report")
    done = on_a_bare_machine(folder, "--json", "gpu.json")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, json.loads((folder / "gpu.json").read_text())["figures"]


@pytest.fixture(scope="module")
def report(ended: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    return ended[1]


@pytest.fixture
def bench() -> Workbench:
    return Workbench(TINY, torch.device("cpu"), torch.float32)


def printed(figures: dict[str, Any]) -> str:
    """Its tables on a terminal of 80 columns."""
    console = Console(file=io.StringIO(), width=80)
    for table in tables(figures):
        console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO


def test_what_is_printed_is_what_is_saved(ended: tuple[str, dict[str, Any]]) -> None:
    """Each section's end with the time left, the tables, and the result as the last line."""
    lines = ended[0].splitlines()
    assert json.loads(lines[-1])["figures"] == ended[1]
    assert [line.partition(":")[0] for line in lines[: len(SECTIONS)]] == [section.name for section in SECTIONS]
    assert all(re.search(r": \d+ s; at most \d+:\d\d left$", line) for line in lines[: len(SECTIONS)])
    assert "what is promised of one H200" in ended[0]


def test_a_machine_that_lacks_more_cannot_run_it(tmp_path: Path) -> None:
    """The bare machine is bare: without transformers the command ends."""
    done = on_a_bare_machine(tmp_path, packages="torch triton numpy onnx typer packaging")
    assert done.returncode != 0
    assert "transformers" in done.stderr


def test_every_section_runs_on_a_bare_machine(report: dict[str, Any]) -> None:
    """Without diffusers, aiortc, av, TensorRT, FastAPI and the rest, nothing fails and nothing falls back."""
    assert report["failed"] == {}
    assert report["not_measured"] == {}
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
    assert all(sessions[way]["points_host_gb"] > 0 for way in ("eager", "graphed")), "sessions are interruptible"
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
    assert rows["memory of each further one, GB"]["met"] is None
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


def test_a_result_that_cannot_be_written_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    """Not after the first section, and not after nine minutes."""
    (tmp_path / "file").write_text("")
    application = typer.Typer()
    application.command()(gpu)
    arguments = ["--size", "tiny", "--device", "cpu", "--json", str(tmp_path / "file" / "gpu.json")]
    done = CliRunner().invoke(application, arguments)
    assert isinstance(done.exception, Unavailable), done.exception
    assert "cannot be written" in str(done.exception)
    assert done.stdout == ""


def test_a_failing_section_costs_the_others_nothing(bench: Workbench) -> None:
    """What fails is told with its traceback; the sections before and after it are kept, each saved."""
    figures: dict[str, Any] = {"failed": {}}
    saved: list[set[str]] = []
    sections = [Section("kernels", 10, "no_such_module"), Section("ceilings", 10, "ceilings")]
    _run(sections, bench, figures, Deadline.after(60), lambda: saved.append(set(figures)), Console(file=io.StringIO()))
    assert "no_such_module" in figures["failed"]["kernels"]
    assert "Traceback" in figures["kernels"]["traceback"]
    assert figures["ceilings"]["matrix_tflops"] > 0
    assert ["ceilings" in names for names in saved] == [False, True]
    assert "matrix product" in printed(figures)


@pytest.mark.parametrize("place", [0, 2], ids=["the first", "a later one"])
def test_a_pass_that_does_not_fit_into_memory_costs_the_others_nothing(
    place: int, bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named with its reason; smaller ones are measured, compiled too, and the report goes on."""
    height, width, frames, batch = TINY.forward_cells[place]
    run = bench.networks.dit.forward

    def out_of_memory(latents: Tensor, *others: Any, **named: Any) -> Tensor:
        if (latents.shape[2], latents.shape[0]) == (frames, batch):
            raise torch.OutOfMemoryError("no room")
        return run(latents, *others, **named)

    monkeypatch.setattr(bench.networks.dit, "forward", out_of_memory)
    figures: dict[str, Any] = {"failed": {}}
    forward = [section for section in SECTIONS if section.name == "forward"]
    _run(forward, bench, figures, Deadline.after(BUDGET_S), lambda: None, Console(file=io.StringIO()))
    assert figures["failed"] == {}
    told = f"pass, {width}x{height}, window {frames}, batch {batch}"
    assert bench.not_measured == {told: "OutOfMemoryError: no room"}
    measured = ["graphed_ms" in cell for cell in figures["forward"]["cells"]]
    assert measured == [index != place for index in range(4)]
    assert figures["summary"] == {}, "a share of a ceiling that was not measured is none"
    assert printed(figures)


def test_a_call_that_is_too_large_stays_compiled_for_others(bench: Workbench) -> None:
    """Memory that was too small once is no fault of the compiler's."""

    def doubled(x: Tensor) -> Tensor:
        return 2 * x

    def too_large(x: Tensor) -> Tensor:
        if x.numel() > 1:
            raise torch.OutOfMemoryError("no room")
        return 2 * x

    call = CompiledOrPlain(doubled, too_large, bench.not_compiled)
    with pytest.raises(torch.OutOfMemoryError):
        call(torch.ones(2))
    assert call(torch.ones(1)) == 2
    assert bench.not_compiled == {}


def test_what_a_section_leaves_of_its_share_is_the_next_one_s(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But not the share of those after it; and one that takes more than it may takes it from the last."""
    now, given = [1000.0], dict[str, float]()
    takes_s = {"quick": 5, "slow": 65, "third": 0, "last": 0}
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    whole = Deadline.after(100)

    def load(section: Section) -> Any:
        def call(_bench: Workbench, _figures: dict[str, Any], deadline: Deadline) -> None:
            given[section.name] = deadline.left_s
            now[0] += takes_s[section.name]

        return call

    monkeypatch.setattr(Section, "load", load)
    sections = [Section(name, BUDGET_S / 4, name) for name in takes_s]
    _run(sections, bench, {"failed": {}}, whole, lambda: None, Console(file=io.StringIO()))
    assert given == pytest.approx({"quick": 25, "slow": 45, "third": 25, "last": 30})


def test_a_kernel_that_fails_costs_the_others_nothing(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it raises; it is named, and what was measured of it is kept."""
    from avacast.kernels.catalogue import KERNELS

    class CompilationError(Exception):
        """As Triton's, which is no RuntimeError."""

    def broken(_call: Any) -> Any:
        if not bench.not_measured:
            raise CompilationError("no such instruction")
        return plain(_call)

    plain = bench.compile
    monkeypatch.setattr(bench, "compile", broken)
    figures: dict[str, Any] = {}
    kernel_table(bench, figures, Deadline.after(60))
    assert bench.not_measured == {f"kernel {KERNELS[0].name}": "CompilationError: no such instruction"}
    assert len(figures["kernels"]) == len(KERNELS) - 1
    assert figures["left_out"] == []


def test_when_the_time_is_over_the_rest_is_named(bench: Workbench) -> None:
    """No further cell is begun; what was left out stands in the result."""
    figures: dict[str, Any] = {"failed": {}}
    forward = [section for section in SECTIONS if section.name == "forward"]
    _run(forward, bench, figures, Deadline.after(0), lambda: None, Console(file=io.StringIO()))
    assert figures["failed"] == {}
    assert figures["forward"]["cells"] == []
    assert figures["forward"]["left_out"] == TINY.forward_cells


def test_a_slow_compiler_costs_no_figure_of_a_decoder_but_its_own(bench: Workbench) -> None:
    """All decoders are measured as they are before one is compiled; what there is no time for is named."""
    compiled: list[Any] = []
    run = bench.compile

    def compiling(call: Any) -> Any:
        compiled.append(call)
        return run(call)

    class UntilCompiled(Deadline):
        @property
        def left_s(self) -> float:
            return 0.0 if compiled else 100.0

    bench.compile = compiling  # type: ignore[method-assign]
    figures: dict[str, Any] = {}
    decoding(bench, figures, UntilCompiled(0.0))
    cells = [*figures["wan"], *figures["tiny"]]
    assert [cell["captured_ms"] > 0 for cell in cells] == [True, True]
    assert ["graphed_ms" in cell for cell in cells] == [True, False]
    assert figures["left_out"] == ["decoding, tiny, 32x32, 1 in a pass, compiled"]


def test_the_full_size_measures_what_was_asked_for() -> None:
    """512x512 and 480x832; windows of 21, 13, 9 and 5; batches of 1, 2 and 4; 9 with 3 overlapped in four steps."""
    assert set(FULL.sizes) == {(512, 512), (480, 832)}
    assert (set(FULL.windows), set(FULL.batches)) == ({21, 13, 9, 5}, {1, 2, 4})
    assert FULL.forward_cells[0] == (512, 512, 9, 1), "the target's own cell comes first"
    assert (FULL.config.window.window, FULL.config.window.overlap, FULL.config.sampler.num_steps) == (9, 3, 4)
    assert sum(section.seconds for section in SECTIONS) <= BUDGET_S
    assert BUDGET_S + GRACE_S + LAST_WORDS_S <= 9 * 60 - 5, "nine minutes hold it, and Python's own start"


def test_tables_show_what_is_there(report: dict[str, Any]) -> None:
    """A full result, one cut short after its first section, one with little in a section: all are printed."""
    for figures in (report, {"ceilings": report["ceilings"], "targets": judged({})}):
        assert "─" in printed(figures)
    assert printed({"pipeline": {"window": 9}, "baseline": {"took_s": 1.0}}) == ""


def test_tables_fit_a_terminal(report: dict[str, Any]) -> None:
    """Figures of the full size at their longest, in 80 columns: nothing is cut, and each has its unit."""
    figures = json.loads(json.dumps(report))
    size = {"height": 480, "width": 832, "window": 21, "batch": 4}
    times = {f"{way}_ms": 2345.6 for way in WAYS} | {f"{way}_share": 0.655 for way in WAYS}
    figures["forward"]["cells"].append({**size, **times, "tflop": 1138.4})
    figures["forward"]["exported"] = [{"export": "offline-tensorrt-bf16-b4", **size, **times, "exported_ms": 2345.6}]
    decoded = {**times, "captured_ms": 47.2, "captured_share": 0.655, "tflop_per_latent": 13.55}
    figures["decoding"]["wan"].append({**size, **decoded, "latents_per_pass": 3})
    figures["pipeline"]["batches"] *= 2
    for row in figures["kernels"]["kernels"]:
        row |= {"compiled_us": 12345.6, "fused_us": 12345.6, "speedup_over_compiled": 1.234, "max_difference": 1.23e-3}
    told = printed(figures)
    assert "…" not in told
    assert max(map(len, told.splitlines())) <= 80
    streams = (report["pipeline"]["graphed_wan"], report["session"]["graphed"])
    assert {name for stream in streams for name in stream} <= STREAM_ROWS.keys()


def test_the_first_line_says_what_the_figures_are_of() -> None:
    """A try at the tiny size says that it is one."""
    machine = {"device": "H200", "torch": "2.13", "dtype": "bfloat16"}
    full, tiny = (headline({"machine": machine, "model": one.config.name}, 40 * "a") for one in (FULL, TINY))
    assert full.startswith("H200, torch 2.13, bfloat16; ")
    assert ("only a try" in full, "only a try" in tiny) == (False, True)


def test_the_target_share_is_that_of_the_first_cell() -> None:
    """Where it and the ceiling were measured."""
    for cell, expected in (({"graphed_share": 0.7}, {"transformer_share": 0.7}), ({}, {})):
        assert summary({"forward": {"cells": [cell, {"graphed_share": 0.1}]}}) == expected


def test_summaries_need_both_sides() -> None:
    """A ratio is told only where both of its sections were measured."""
    sections = {"pipeline": {"graphed_wan": {"frames_per_s": 60.0}}, "baseline": {"equal": {"frames_per_s": 20.0}}}
    assert summary(sections) == {"times_released_equal": 3.0}
    assert look_up(sections, ("baseline", "defaults", "frames_per_s")) is None
