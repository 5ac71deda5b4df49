"""Exports in the GPU report: timed where they can be opened, told why where not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from avacast.bench.device_timer import Deadline
from avacast.bench.forward_passes import forward_passes
from avacast.bench.gpu_tables import tables
from avacast.bench.gpu_workload import TINY
from avacast.bench.workbench import Workbench
from avacast.engine.export_manifest import ExportedNetwork, ExportManifest
from avacast.engine.manifest import MANIFEST, Entry, file_digest
from avacast.engine.profile import Profile
from avacast.engine.static_form import StaticShape, step_signature
from avacast.engine.step_graph import StepGraph
from avacast.export.forms import StepByPosition
from avacast.export.onnx_file import write_onnx


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model's step graph for a window that the report measures; and one whose weights were changed."""
    folder = tmp_path_factory.mktemp("exports")
    bench = Workbench(TINY, torch.device("cpu"), torch.float32)
    signature = step_signature(StaticShape(TINY.config, Profile(TINY.config.window), 1, torch.float32))
    for name in ("good", "spoilt"):
        place = folder / name
        place.mkdir()
        form = StepByPosition(StepGraph(bench.networks.dit), tuple(spec.name for spec in signature.inputs))
        files = write_onnx(form.eval(), signature, place / "step.onnx")
        entries = {file.name: Entry(file_digest(file), file.stat().st_size) for file in files}
        network = ExportedNetwork(signature, "step.onnx", entries)
        manifest = ExportManifest(place, 64 * "0", "mic", 1, "onnx", "fp32", {}, {"step": network})
        (place / MANIFEST).write_bytes(manifest.to_json())
    (folder / "spoilt" / "step.onnx").write_bytes(b"no graph")
    return folder


def measured(bench: Workbench) -> dict[str, Any]:
    bench.matrix_flops = 1e12
    figures: dict[str, Any] = {}
    forward_passes(bench, figures, Deadline.after(60))
    return figures


def test_an_export_is_timed_beside_the_pass_that_it_replaces(exports: Path):
    """With its share of the ceiling, from the operations of the pass in PyTorch; one that is spoilt says why not."""
    workload = replace(TINY, windows=(TINY.config.window.window,), batches=(1,))
    bench = Workbench(workload, torch.device("cpu"), torch.float32, exports)
    figures = measured(bench)
    good, spoilt = figures["exported"]
    assert good["runtime"].startswith("ONNX Runtime")
    assert good["exported_ms"] > 0
    assert good["exported_share"] == pytest.approx(1e3 * figures["cells"][0]["tflop"] / good["exported_ms"])
    assert "SHA-256" in spoilt["refused"]
    assert bench.not_measured == {}
    (table,) = (table for table in tables({"forward": figures}) if "exports" in str(table.title))
    assert [list(column.cells)[1] for column in table.columns] == ["spoilt", "-", "-", "-", "refused"]
    assert figures["other_backends"]["onnxruntime"] == "see `exported`"


def test_an_export_of_another_model_has_a_time_and_no_share(exports: Path):
    """The report's operations are not its."""
    config = replace(TINY.config, dit=replace(TINY.config.dit, audio_in_dim=16))
    workload = replace(TINY, config=config, windows=(), batches=())
    good, _ = measured(Workbench(workload, torch.device("cpu"), torch.float32, exports))["exported"]
    assert good["exported_ms"] > 0
    assert "exported_share" not in good


def test_without_a_folder_of_exports_the_report_says_how_to_name_one():
    """Nothing is looked for in the working directory."""
    bench = Workbench(replace(TINY, windows=(), batches=()), torch.device("cpu"), torch.float32)
    figures = measured(bench)
    assert figures["exported"] == []
    assert "--exports" in figures["other_backends"]["onnxruntime"]
