"""The figures of `avacast bench gpu` for people: one table for each section, no wider than a terminal of 80 columns.

Knows the sections' figures by their names; measures nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from rich import box
from rich.table import Table

from avacast.bench.gpu_workload import FULL

STREAM_ROWS = {
    "frames_per_s": "frames/s",
    "two_sessions_frames_per_s": "frames/s, two sessions",
    "streams_at_25_fps": "streams at 25 frames/s",
    "window_ms": "a window, ms",
    "open_session_ms": "to open a session, ms",
    "first_frame_ms": "first frame, ms",
    "interruption_to_silent_window_ms": "interruption to silence, ms",
    "interruption_at_worst_ms": "the same at worst, ms",
    "state_in_ms": "another stream's turn, ms",
    "state_mb": "a stream's state, MB",
    "peak_gb": "peak memory, GB",
    "first_session_gb": "memory of the first session, GB",
    "further_session_gb": "memory of each further one, GB",
    "points_host_gb": "to go back, host memory, GB",
}
"""Figures of a stream, in the order and by the names of the report; those that are not here come last."""

_BAR = 8
"""Characters of a bar that stands for the whole ceiling."""

_WAYS = ("eager", "captured", "compiled", "graphed")


def tables(sections: Mapping[str, Any]) -> Iterator[Table]:
    """A table of each section that was measured, the targets last."""
    makers = {
        "ceilings": _ceilings,
        "pipeline": partial(_streams, "whole streams, as graphs; several at once: tiny decoder"),
        "forward": _forward,
        "exported": _exported,
        "decoding": _decoding,
        "baseline": _baseline,
        "session": partial(_streams, "the engine's sessions, as they are served"),
        "kernels": _kernels,
        "targets": _targets,
    }
    found = {**sections, "exported": sections.get("forward", {}).get("exported")}
    for name, make in makers.items():
        if found.get(name) and (table := make(found[name])).rows:
            yield table


def headline(figures: Mapping[str, Any], commit: str) -> str:
    """One line: on what, of what, by which source the figures are."""
    machine = figures["machine"]
    said = (
        f"{machine['device']}, torch {machine['torch']}, {machine['dtype']}; {figures['model']}; commit {commit[:12]}"
    )
    return said if figures["model"] == FULL.config.name else f"{said}; only a try"


def _table(title: str, *columns: str) -> Table:
    table = Table(
        title=f"\n{title}",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", no_wrap=True)
    return table


def _ceilings(figures: Mapping[str, Any]) -> Table:
    table = _table("what the device could do", "", "measured")
    for name, unit in (("matrix_tflops", "matrix product, TFLOP/s"), ("copy_gb_per_s", "copy, GB/s")):
        if name in figures:
            table.add_row(unit, _number(figures[name]))
    for name, rate in figures.get("attention_tflops", {}).items():
        # Why one of them cannot run is a paragraph; it stands in the result.
        table.add_row(f"attention by {name}, TFLOP/s", "refused" if isinstance(rate, str) else _number(rate))
    return table


def _streams(title: str, figures: Mapping[str, Any]) -> Table:
    names = {"graphed_wan": "Wan VAE", "graphed_tiny": "tiny decoder", "eager": "eager", "graphed": "graphed"}
    ways = {told: figures[name] for name, told in names.items() if figures.get(name)}
    ways |= {f"{cell['streams']} at once": cell for cell in figures.get("batches", [])}
    table = _table(title, "", *ways)
    measured = {name for way in ways.values() for name in way} - {"streams"}
    for name in (*(name for name in STREAM_ROWS if name in measured), *sorted(measured - STREAM_ROWS.keys())):
        table.add_row(STREAM_ROWS.get(name, name), *(_number(way.get(name)) for way in ways.values()))
    return table


def _forward(figures: Mapping[str, Any]) -> Table:
    ways = ("eager", "compiled", "graphed")
    title = "a pass of the transformer: ms (share of the matrix ceiling)"
    table = _table(title, "size", "window", "batch", "TFLOP", *ways, "graphed")
    for cell in figures.get("cells", []):
        place = _size(cell), str(cell["window"]), str(cell["batch"]), _number(cell.get("tflop"))
        table.add_row(*place, *(_time(cell, way) for way in ways), _bar(_share(cell, "graphed")))
    return table


def _exported(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("the same in exports", "export", "size", "window", "batch", "ms (share)")
    for row in rows:
        if "exported_ms" in row:
            place = _size(row), str(row["window"]), str(row["batch"])
            table.add_row(row["export"], *place, _time(row, "exported"))
        else:
            why = "left out" if row["left_out"] else "refused" if "refused" in row else "failed"
            table.add_row(row["export"], "-", "-", "-", why)
    return table


def _decoding(figures: Mapping[str, Any]) -> Table:
    title = "decoding, for each latent frame: ms (share of the matrix ceiling)"
    table = _table(title, "decoder", "at once", "TFLOP", *_WAYS)
    for name in ("wan", "tiny"):
        for cell in figures.get(name, []):
            place = f"{name} {_size(cell)}", str(cell["latents_per_pass"]), _number(cell.get("tflop_per_latent"))
            table.add_row(*place, *(_time(cell, way) for way in _WAYS))
    return table


def _baseline(figures: Mapping[str, Any]) -> Table:
    table = _table("the released way", "", "steps", "branches", "window", "a step, ms", "frames/s")
    for name, told in (("equal", "our steps and window"), ("defaults", "its defaults")):
        if name in figures:
            row = figures[name]
            counts = (str(row[key]) for key in ("num_steps", "num_branches", "window"))
            table.add_row(told, *counts, _number(row["step_ms"]), _number(row["frames_per_s"]))
    return table


def _kernels(figures: Mapping[str, Any]) -> Table:
    columns = {
        "reference_us": "plain",
        "compiled_us": "compiled",
        "fused_us": "fused",
        "speedup_over_compiled": "gain",
        "max_difference": "error",
        "stays": "stays",
    }
    table = _table("kernels: us a call; gain over compiled, largest error", "", *columns.values())
    for row in figures.get("kernels", []):
        table.add_row(row["name"], *(_number(row.get(column)) for column in columns))
    return table


def _targets(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("what is promised of one H200 at the full size", "", "promised", "measured", "met")
    for row in rows:
        bound = f"{'≥' if row['at_least'] else '≤'} {row['bound']:g}"
        table.add_row(row["what"], bound, _number(row["measured"]), _number(row["met"]))
    return table


def _size(cell: Mapping[str, Any]) -> str:
    return f"{cell['width']}x{cell['height']}"


def _time(cell: Mapping[str, Any], way: str) -> str:
    if f"{way}_ms" not in cell:
        return "-"
    share = _share(cell, way)
    return _number(cell[f"{way}_ms"]) + ("" if share is None else f" ({100 * share:.0f} %)")


def _share(cell: Mapping[str, Any], way: str) -> float | None:
    """Of the ceiling; None also where that was not measured."""
    share = cell.get(f"{way}_share")
    return None if share is None or math.isnan(share) else share


def _bar(share: float | None) -> str:
    """A plot in a line: how much of the ceiling is reached."""
    filled = 0 if share is None else round(_BAR * min(max(share, 0.0), 1.0))
    return "█" * filled + "░" * (_BAR - filled)


def _number(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return str(value)
    if 0 < abs(value) < 0.001:
        return "<0.001"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
