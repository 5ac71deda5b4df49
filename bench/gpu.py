"""`avacast bench gpu`: the whole report of one GPU in one command, on a machine with little more than torch on it.

Knows the sections, their shares of the time, and where the result goes; each section is a module of its own. What it
needs: torch, triton, transformers, numpy, and what these bring along (typer, rich, safetensors); of a checkout that is
not installed, `PYTHONPATH=.typings python -m avacast.bench.gpu` runs the same.
"""

from __future__ import annotations

import importlib
import sys
import time
import traceback
from collections.abc import Callable
from enum import StrEnum
from io import TextIOWrapper
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeAlias

import typer

from avacast.bench.result import Result
from avacast.bench.watchdog import Watchdog
from avacast.engine.errors import AvacastError, BadSetting, Unavailable

if TYPE_CHECKING:
    from avacast.bench.device_timer import Deadline
    from avacast.bench.gpu_workload import Workload
    from avacast.bench.workbench import Workbench

SectionCall: TypeAlias = "Callable[[Workbench, dict[str, Any], Deadline], None]"
"""Fills its figures in one after another, so that what was measured before a failure is kept."""


class Section(NamedTuple):
    """One part of the report."""

    name: str
    seconds: float
    """Its share of `BUDGET_S`: the most it may take, but for what those before it have left."""
    module: str
    """In this package; the function of that name fills the section's figures in."""

    def load(self) -> SectionCall:
        """Imports the section only now: what one of them lacks here is no other's failure."""
        return getattr(importlib.import_module(f"avacast.bench.{self.module}"), self.module)


class SizeName(StrEnum):
    full = "full"
    tiny = "tiny"


BUDGET_S = 515.0
"""From the command's first moment on, the import of PyTorch from a cold disk included."""

GRACE_S = 15.0
"""Beyond the time for a measurement that was begun; then the process ends with what it has. Nine minutes hold both, and
the moments in which it says so."""


def gpu(
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the result to this file, again and again while it is made.")
    ] = None,
    sections: Annotated[
        str, typer.Option(help="Which to run, with commas between: ceilings, pipeline, ...", show_default="all")
    ] = "",
    size: Annotated[
        SizeName, typer.Option(help="`full` is the released 1.3B model; `tiny` tries the command out, on a CPU too.")
    ] = SizeName.full,
    budget_s: Annotated[float, typer.Option("--budget-s", min=1, help="Seconds in all; what is over is left out.")] = (
        BUDGET_S
    ),
    device: Annotated[str, typer.Option(help="`cuda`, `cuda:1`, `cpu`.", show_default="the GPU, if any")] = "",
    exports: Annotated[
        Path | None, typer.Option(help="Folder of exports, whose passes are timed too.", show_default="none")
    ] = None,
) -> None:
    """Measure a GPU with the 1.3B model and random weights, in less than nine minutes: ceilings, passes, whole streams.

    Sections, in their order: ceilings (matrix product, copy, attention), pipeline (frames a second, streams, first
    frame, interruption, memory, all as graphs), baseline (the released way of doing it), session (the engine as it is
    served), forward (one pass of the transformer, eager, compiled, graphed, and in ONNX Runtime or TensorRT where
    --exports names what `avacast export` wrote), kernels, decoding.

    The result is written while it is made; what fails, or does not fit into memory, is named at the end and costs the
    rest nothing, and a section whose time is over says what it left out.
    Needs torch, triton and transformers only. From a checkout that is not installed:
    `PYTHONPATH=.typings python -m avacast.bench.gpu`; or, without network,
    `pip install --no-index --no-build-isolation --no-deps .`, which needs setuptools 77.
    """
    started = time.monotonic()
    from rich.console import Console

    from avacast.bench.device_timer import Deadline
    from avacast.bench.gpu_machine import machine
    from avacast.bench.gpu_tables import headline, tables

    chosen = _chosen(sections)
    workload, bench = _prepare(size, device, exports)
    whole = Deadline(started + budget_s)
    figures: dict[str, Any] = {"machine": machine(bench), "model": workload.config.name, "failed": {}}
    figures |= {"not_measured": bench.not_measured, "blocks_ms": bench.blocks_ms}
    figures |= {"not_compiled": bench.not_compiled, "not_captured": bench.not_captured}
    if isinstance(sys.stdout, TextIOWrapper):
        # A log that knows ASCII alone loses a bar here and there, not the report.
        sys.stdout.reconfigure(errors="replace")
    console = Console()

    result, one_at_a_time = Result.of("gpu", figures), Lock()

    def save() -> None:
        with one_at_a_time:
            _judge(figures)
            if json_file is not None:
                result.save(json_file)

    def show() -> None:
        try:
            console.print(headline(figures, result.commit), highlight=False)
            for table in tables(figures):
                console.print(table)
        finally:
            print(result.to_json())

    save()
    try:
        with Watchdog(save, last_s=whole.left_s + GRACE_S, last_words=show):
            bench.check_kernels()
            _run(chosen, bench, figures, whole, save, console)
    finally:
        show()
    if missing := [*figures["failed"], *bench.not_measured]:
        raise Unavailable(f"not measured, since it failed: {'; '.join(missing)}; the result tells why")


def _prepare(size: SizeName, device: str, exports: Path | None) -> tuple[Workload, Workbench]:
    """The workload and a workbench on `device`. Raises Unavailable for the full size without a GPU."""
    import torch
    from torch import _dynamo

    from avacast.bench.gpu_workload import FULL, TINY
    from avacast.bench.workbench import Workbench

    try:
        place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise BadSetting(f"{device!r} is no device; name one like cuda, cuda:1 or cpu") from error
    if place.type == "cuda" and not torch.cuda.is_available():
        raise Unavailable("there is no GPU that PyTorch can use; `--size tiny --device cpu` tries the command out")
    if place.type == "cpu" and size is SizeName.full:
        raise Unavailable("the full size needs a GPU; `--size tiny` tries the command out on the CPU")
    if str(place).startswith("cuda:"):
        if place.index >= torch.cuda.device_count():
            raise Unavailable(f"there is no {place} here; `nvidia-smi` lists the GPUs")
        torch.cuda.set_device(place)  # events and kernels go to the one that is current
    torch.backends.cudnn.benchmark = True
    # Every size is compiled once or twice; past this many variants the compiler would give up.
    _dynamo.config.recompile_limit = 64
    workload = FULL if size is SizeName.full else TINY
    dtype = torch.bfloat16 if place.type == "cuda" else torch.float32
    return workload, Workbench(workload, place, dtype, exports)


def _run(
    chosen: list[Section],
    bench: Workbench,
    figures: dict[str, Any],
    whole: Deadline,
    save: Callable[[], None],
    console: Any,
) -> None:
    """Runs the sections until `whole`. What one leaves of its share is the next one's; one that takes more takes it
    from the last ones.
    """
    from avacast.bench.device_timer import Deadline
    from avacast.bench.gpu_progress import section_progress

    shares = [section.seconds * max(0.0, whole.left_s) / BUDGET_S for section in chosen]
    with section_progress(console, sum(shares), lambda: whole.left_s) as progress:
        for index, (section, share_s) in enumerate(zip(chosen, shares, strict=True)):
            figures[section.name] = own = {}
            started, later_s = time.monotonic(), sum(shares[index + 1 :])
            most_s = min(whole.left_s, max(share_s, whole.left_s - later_s))
            with progress.section(section.name, share_s):
                try:
                    try:
                        section.load()(bench, own, Deadline.after(most_s))
                    finally:
                        bench.release()
                except Exception as error:  # noqa: BLE001  # one section's failure is told and must not cost the others
                    figures["failed"][section.name] = f"{type(error).__name__}: {error}"
                    own["traceback"] = traceback.format_exc()
                    console.print(
                        f"{section.name} failed: {type(error).__name__}: {error}", markup=False, highlight=False
                    )
            own["took_s"] = time.monotonic() - started
            _judge(figures)
            save()


def _judge(figures: dict[str, Any]) -> None:
    """Fills in what follows from all that was measured so far."""
    from avacast.bench.gpu_targets import judged, summary

    figures["summary"] = summary(figures)
    figures["targets"] = judged(figures)


def _chosen(names: str) -> list[Section]:
    """The sections of those names, all of them for none. Raises BadSetting for a name that is none."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    known = {section.name: section for section in SECTIONS}
    if unknown := [name for name in wanted if name not in known]:
        raise BadSetting(f"there is no section {unknown[0]!r}; there are {', '.join(known)}")
    return [section for section in SECTIONS if not wanted or section.name in wanted]


SECTIONS = (
    Section("ceilings", 40, "ceilings"),
    Section("pipeline", 140, "whole_pipeline"),
    Section("baseline", 40, "released_baseline"),
    Section("session", 45, "live_session"),
    Section("forward", 140, "forward_passes"),
    Section("kernels", 35, "kernel_table"),
    Section("decoding", 75, "decoding"),
)
"""In the order of what would be missed most; last what may take longest, for the compiler's sake."""


def main() -> None:
    """Runs the command where avacast is a checkout that is not installed."""
    try:
        typer.run(gpu)
    except AvacastError as error:
        print(f"avacast: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
