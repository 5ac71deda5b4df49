"""The figures of `avacast bench gpu` for people: one table for each section.

Knows the sections' figures by their names; measures nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table


def tables(sections: Mapping[str, Any]) -> Iterator[Table]:
    """A table of each section that was measured, the targets last."""
    makers = {
        "ceilings": _ceilings,
        "pipeline": _pipeline,
        "forward": _forward,
        "decoding": _decoding,
        "baseline": _baseline,
        "session": _pipeline,
        "kernels": _kernels,
        "targets": _targets,
    }
    for name, make in makers.items():
        if sections.get(name):
            yield make(sections[name])


def _ceilings(figures: Mapping[str, Any]) -> Table:
    table = Table("ceiling", "measured", title="what the device could do")
    for name, unit in (("matrix_tflops", "TFLOP/s, matrix product"), ("copy_gb_per_s", "GB/s, copy")):
        table.add_row(unit, _number(figures.get(name)))
    for name, rate in figures.get("attention_tflops", {}).items():
        table.add_row(f"TFLOP/s, attention: {name}", _number(rate))
    return table


def _pipeline(figures: Mapping[str, Any]) -> Table:
    ways = {name: figures[name] for name in ("graphed_wan", "graphed_tiny", "eager", "graphed") if name in figures}
    ways |= {f"{cell['streams']} streams, tiny": cell for cell in figures.get("batches", [])}
    names = sorted({name for way in ways.values() for name in way} - {"streams"})
    table = Table("stream", *ways)
    for name in names:
        table.add_row(name, *(_number(way.get(name)) for way in ways.values()))
    return table


def _forward(figures: Mapping[str, Any]) -> Table:
    ways = ("eager", "compiled", "graphed")
    table = Table("size", "window", "batch", "TFLOP", *(f"{way}, ms (share)" for way in ways), title="transformer")
    for cell in figures["cells"]:
        table.add_row(*_place(cell), *(_time(cell, way) for way in ways))
    return table


def _decoding(figures: Mapping[str, Any]) -> Table:
    ways = ("eager", "captured", "compiled", "graphed")
    table = Table("decoder", "size", "latents a pass", "TFLOP", *(f"{way}, ms (share)" for way in ways))
    for name in ("wan", "tiny"):
        for cell in figures.get(name, []):
            size, num = f"{cell['width']}x{cell['height']}", str(cell["latents_per_pass"])
            table.add_row(name, size, num, _number(cell["tflop_per_latent"]), *(_time(cell, way) for way in ways))
    table.title = "one latent frame"
    return table


def _baseline(figures: Mapping[str, Any]) -> Table:
    table = Table("released way", "steps", "branches", "window", "step, ms", "frames/s")
    for name in ("equal", "defaults"):
        if name in figures:
            row = figures[name]
            counts = (str(row[key]) for key in ("num_steps", "num_branches", "window"))
            table.add_row(name, *counts, _number(row["step_ms"]), _number(row["frames_per_s"]))
    return table


def _kernels(figures: Mapping[str, Any]) -> Table:
    columns = ("reference_us", "compiled_us", "fused_us", "speedup_over_compiled", "max_difference", "stays")
    table = Table("kernel", *(column.replace("_", " ") for column in columns))
    for row in figures["kernels"]:
        table.add_row(row["name"], *(_number(row.get(column)) for column in columns))
    return table


def _targets(rows: list[dict[str, Any]]) -> Table:
    table = Table("target", "measured", "bound", "met")
    for row in rows:
        bound = f"{'≥' if row['at_least'] else '≤'} {row['bound']:g}"
        table.add_row(row["what"], _number(row["measured"]), bound, _number(row["met"]))
    return table


def _place(cell: Mapping[str, Any]) -> tuple[str, str, str, str]:
    return f"{cell['width']}x{cell['height']}", str(cell["window"]), str(cell["batch"]), _number(cell["tflop"])


def _time(cell: Mapping[str, Any], way: str) -> str:
    if f"{way}_ms" not in cell:
        return "-"
    return f"{cell[f'{way}_ms']:.4g} ({100 * cell[f'{way}_share']:.0f} %)"


def _number(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, int | float) else str(value)
