"""One pass of the transformer as an export runs it, in ONNX Runtime or as a TensorRT plan, beside the report's others.

Knows exports by their manifests; who wrote them, and for which model, matters only for the share of the ceiling.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from avacast.bench.device_timer import Deadline, seconds_of
from avacast.bench.workbench import Workbench
from avacast.engine.config import SPATIAL_STRIDE
from avacast.engine.errors import AvacastError
from avacast.engine.export_manifest import ExportManifest, export_folders
from avacast.engine.graph_session import GraphSession, open_graph
from avacast.engine.graph_signature import TensorSpec
from avacast.engine.profile import Profile, WindowConfig
from avacast.engine.static_form import StaticShape, step_signature


def exported_passes(bench: Workbench, rows: list[dict[str, Any]], cells: list[dict[str, Any]], end: Deadline) -> None:
    """Appends a row for each export in the workbench's folder: its time in ms, or why there is none.

    `cells` are the passes in PyTorch: the share of the ceiling is known for one of the same shapes.
    """
    for folder in export_folders(bench.exports) if bench.exports else ():
        row: dict[str, Any] = {"export": folder.name, "left_out": end.passed}
        rows.append(row)
        if end.passed:
            continue
        try:
            with bench.sparing(f"export {folder.name}"):
                session = open_graph(ExportManifest.read(folder), "step", bench.device)
                row |= measure_export(bench, session, cells)
        except AvacastError as error:
            row["refused"] = str(error)


def measure_export(bench: Workbench, session: GraphSession, cells: list[dict[str, Any]]) -> dict[str, Any]:
    """The time of one pass on random numbers, and what it amounts to."""
    inputs = {spec.name: _random(bench, spec) for spec in session.signature.inputs}
    batch, _, frames, height, width = session.signature.input("latents").shape
    height, width = SPATIAL_STRIDE * height, SPATIAL_STRIDE * width
    seconds = seconds_of(lambda: session(inputs), bench.device)
    row: dict[str, Any] = {"runtime": session.runtime, "height": height, "width": width, "window": frames}
    row |= {"batch": batch, "exported_ms": 1000 * seconds}
    if not _is_of_this_model(bench, session):
        return row
    for cell in cells:
        if all(cell[name] == row[name] for name in ("height", "width", "window", "batch")) and "tflop" in cell:
            row["exported_share"] = 1e12 * cell["tflop"] / seconds / bench.matrix_flops
    return row


def _is_of_this_model(bench: Workbench, session: GraphSession) -> bool:
    """Whether the export's model has the shapes of the report's."""
    batch, _, frames, height, width = session.signature.input("latents").shape
    config = replace(bench.config, height=SPATIAL_STRIDE * height, width=SPATIAL_STRIDE * width)
    profile = Profile(replace(WindowConfig(), window=frames, overlap=frames - 1))
    return session.signature.matches(step_signature(StaticShape(config, profile, batch, bench.dtype)))


def _random(bench: Workbench, spec: TensorSpec) -> Tensor:
    """Of its kind; nothing is masked, and arithmetic on zeros would be too fast."""
    if spec.dtype == torch.bool:
        return torch.ones(spec.shape, dtype=torch.bool, device=bench.device)
    return torch.randn(spec.shape, device=bench.device).to(spec.dtype)
