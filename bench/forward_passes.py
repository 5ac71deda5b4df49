"""One pass of the transformer: eager, compiled, and replayed as a CUDA graph, for every size, window and batch.

Each cell of the table stands beside its counted operations and the fraction of the matrix ceiling that it reaches.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from avacast.bench.device_timer import Deadline, seconds_of
from avacast.bench.exported_passes import exported_passes
from avacast.bench.measured_networks import TRANSFORMER, PartOperations
from avacast.bench.workbench import Workbench
from avacast.engine.graph import StaticBuffers, Tensors

_MAX_S = 0.5
"""Of one way's timed runs; a pass that takes longer is run once."""


def forward_passes(bench: Workbench, figures: dict[str, Any], deadline: Deadline) -> None:
    """Fills in `cells`, one after another, `left_out` where the time was over, and `exported`.

    See `measure_cell` and `exported_passes`.
    """
    cells: list[dict[str, Any]] = []
    exported: list[dict[str, Any]] = []
    figures |= {"cells": cells, "exported": exported, "other_backends": other_backends(bench)}
    figures["left_out"] = todo = bench.workload.forward_cells
    num_in_batches = sum(batch > 1 for *_, batch in todo)
    with torch.inference_mode(), bench.attending():
        _measure(bench, todo, num_in_batches, cells, deadline)
        # Batches take longest: what somebody has brought along comes before them.
        exported_passes(bench, exported, cells, deadline)
        _measure(bench, todo, 0, cells, deadline)


def _measure(
    bench: Workbench, todo: list[tuple[int, int, int, int]], num_left: int, cells: list[dict[str, Any]], end: Deadline
) -> None:
    """Measures what is to be done, the first first, until so many are left, as far as the time goes."""
    while len(todo) > num_left and not end.passed:
        height, width, frames, batch = todo.pop(0)
        with bench.sparing(f"pass, {width}x{height}, window {frames}, batch {batch}"):
            measure_cell(bench, height, width, frames, batch, cells)


def measure_cell(
    bench: Workbench, height: int, width: int, frames: int, batch: int, cells: list[dict[str, Any]]
) -> None:
    """Appends the times in ms of one pass over `batch` windows of `frames` latent frames, and what they amount to."""
    inputs = bench.conditions(height, width, frames, batch)
    inputs["latents"] = bench.noise(height, width, frames, batch).to(bench.dtype)
    inputs["timestep"] = torch.full((batch,), 500.0, device=bench.device)
    cell: dict[str, Any] = {"height": height, "width": width, "window": frames, "batch": batch}
    cells.append(cell)
    cell["tflop"] = count_operations(bench, inputs) / 1e12

    def eager() -> Tensor:
        return bench.networks.dit(**inputs)

    _record(bench, cell, "eager", eager)
    with bench.compiled():
        _record(bench, cell, "compiled", eager)
        graph = bench.graph(lambda buffers: {"velocity": bench.networks.dit(**buffers)}, StaticBuffers(inputs))
        _record(bench, cell, "graphed", graph)
    cell["captured"] = graph.captured


def count_operations(bench: Workbench, inputs: Tensors) -> int:
    """Operations of the matrix products and attentions in one pass."""
    count = PartOperations()
    with count(TRANSFORMER):
        bench.networks.dit(**inputs)
    return count.operations[TRANSFORMER]


def other_backends(bench: Workbench) -> dict[str, str]:
    """Whether what else could run the pass was measured, and what to do where it was not."""
    told = "see `exported`" if bench.exports else "name a folder of exports with --exports"
    packages = {"tensorrt": ("tensorrt", "tensorrt_rtx"), "onnxruntime": ("onnxruntime",)}
    return {
        name: told if any(map(importlib.util.find_spec, found)) else "not installed here"
        for name, found in packages.items()
    }


def _record(bench: Workbench, cell: dict[str, Any], name: str, call: Callable[[], object]) -> None:
    seconds = seconds_of(call, bench.device, max_s=_MAX_S, min_runs=1)
    cell[f"{name}_ms"] = 1000 * seconds
    cell[f"{name}_share"] = 1e12 * cell["tflop"] / seconds / bench.matrix_flops
