"""TensorRT plans. TensorRT for RTX parses and builds on a CPU, so that every graph is compiled for real here."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from avacast.engine.bundle import load_bundle
from avacast.engine.config import ModelConfig
from avacast.engine.errors import BadBundle, Unavailable
from avacast.engine.export_manifest import ExportManifest, PlanPlace
from avacast.engine.graph_session import open_graph, place_here
from avacast.engine.manifest import MANIFEST
from avacast.engine.pipeline import Pipeline
from avacast.engine.plan_choice import choose_plans
from avacast.engine.portrait import Picture
from avacast.engine.sample_tail import Samples
from avacast.engine.static_form import StaticShape, signatures
from avacast.export.exporter import ExportRequest, export_bundle, with_plain_weights
from avacast.export.float8 import Float8
from avacast.export.forms import static_forms
from avacast.export.onnx_file import write_onnx
from avacast.export.recording import record
from avacast.export.tensorrt_plan import PlanBuilder

if sys.platform != "linux":
    pytest.skip("TensorRT for RTX is among the development tools on Linux alone", allow_module_level=True)

Reports = list[tuple[str, int, int]]

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")


def say_nothing(_what: str, _done: int, _total: int) -> None:
    """The report of a test."""


@pytest.fixture(scope="module")
def built(small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[ExportManifest, Reports]:
    """The small model as bfloat16 plans, and what was reported meanwhile."""
    reports: Reports = []
    folder = tmp_path_factory.mktemp("exports")
    request = ExportRequest(backend="tensorrt", precision="bf16")
    return export_bundle(small_bundle, request, folder, lambda *report: reports.append(report)), reports


def small_decoder(config: ModelConfig, folder: Path) -> Path:
    """The graph of a stream's first latent frame, which is built in a second."""
    wanted = signatures(StaticShape(config, config.profile("mic"), 1, torch.float16))
    networks = Pipeline.with_random_weights(config, dtype=torch.float16).networks
    form = static_forms(networks, wanted)["decoder_init"]
    graph, *_ = write_onnx(form.eval(), wanted["decoder_init"], folder / "decoder_init.onnx")
    return graph


def changed(export: ExportManifest, name: str, place: PlanPlace) -> ExportManifest:
    """The export with a network's plan as if it had been built elsewhere, on disk too."""
    export = export.with_network(name, replace(export.networks[name], place=place))
    (export.folder / MANIFEST).write_bytes(export.to_json())
    return ExportManifest.read(export.folder)


def test_every_network_of_the_pocket_kind_becomes_a_plan(built: tuple[ExportManifest, Reports]):
    """Step graph, both decoder graphs and the speech encoder, in bfloat16, each with its digest and place."""
    export, reports = built
    assert sorted(export.networks) == ["decoder_init", "decoder_step", "speech_encoder", "step"]
    for name, network in export.networks.items():
        assert network.plan == f"{name}.plan"
        assert network.place == PlanPlace("tensorrt_rtx", place_here("tensorrt_rtx").version, "any", "")
        assert export.verified(name, network.plan).stat().st_size == network.files[network.plan].num_bytes > 1000
    told = [report for report in reports if report[0].startswith("step: ")]
    assert told[-1][1] == told[-1][2] > 0, "building is reported to its end"


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ["step", "decoder_init", "decoder_step", "speech_encoder", "clip"])
def test_every_network_of_the_released_kind_becomes_a_plan(
    name: str, precision: torch.dtype, released_config: ModelConfig, tmp_path: Path
):
    """Text and image keys, the Wan decoder with its 32 pasts, CLIP; in the two precisions of a GPU."""
    becomes_a_plan(name, precision, released_config, tmp_path)


@pytest.mark.parametrize("name", ["step", "decoder_init", "decoder_step", "speech_encoder"])
def test_every_network_of_the_pocket_kind_becomes_a_plan_in_half_precision_too(
    name: str, small_config: ModelConfig, tmp_path: Path
):
    """Head motion, the tiny decoder, a stream's sound."""
    becomes_a_plan(name, torch.float16, small_config, tmp_path)


def becomes_a_plan(name: str, precision: torch.dtype, config: ModelConfig, folder: Path) -> None:
    wanted = signatures(StaticShape(config, config.profile("mic"), 1, precision))
    networks = Pipeline.with_random_weights(config, dtype=precision).networks
    with_plain_weights(networks.speech_encoder).to(precision)
    form = static_forms(networks, wanted)[name]
    graph, *_ = write_onnx(form.eval(), wanted[name], folder / f"{name}.onnx")
    PlanBuilder.find(folder).build(graph, folder / f"{name}.plan", say_nothing)
    assert (folder / f"{name}.plan").stat().st_size > 1000


@pytest.mark.parametrize("kind", ["small", "released"])
def test_a_step_graph_in_eight_bits_becomes_a_plan(
    kind: str, picture: Picture, sound: Samples, tmp_path: Path, request: pytest.FixtureRequest
):
    """Explicit quantisation, float16 around it."""
    exact: Pipeline = request.getfixturevalue(f"{kind}_pipeline")
    profile = exact.config.profile("mic")
    alone, wanted = (signatures(StaticShape(exact.config, profile, 1, dtype)) for dtype in (torch.float32, torch.half))
    calls = record(exact, profile, picture, sound, {"step": alone["step"]}, max_calls=2).calls["step"]
    change = partial(Float8("blocks", [call.inputs for call in calls]).quantise, signature=wanted["step"])
    rough = Pipeline.with_random_weights(exact.config, dtype=torch.half).networks
    form = static_forms(rough, wanted)["step"].eval()
    graph, *_ = write_onnx(form, wanted["step"], tmp_path / "step.onnx", change=change)
    PlanBuilder.find(tmp_path).build(graph, tmp_path / "step.plan", say_nothing)
    assert (tmp_path / "step.plan").stat().st_size > 1000


def test_a_graph_that_cannot_be_built_is_refused_in_the_librarys_words(tmp_path: Path):
    """The builder runs in a process of its own; what it said comes back as one line."""
    graph = tmp_path / "step.onnx"
    graph.write_bytes(b"no graph")
    with pytest.raises(Unavailable, match="tensorrt_rtx cannot build step"):
        PlanBuilder("tensorrt_rtx", tmp_path / "timings").build(graph, tmp_path / "step.plan", say_nothing)
    assert not (tmp_path / "step.plan").exists()


def test_a_disk_that_refuses_is_no_fault_of_the_library(small_config: ModelConfig, tmp_path: Path):
    """It is told as what it is, so that nobody changes the backend for it."""
    graph = small_decoder(small_config, tmp_path)
    with pytest.raises(OSError, match="No such file or directory"):
        PlanBuilder.find(tmp_path).build(graph, tmp_path / "missing" / "step.plan", say_nothing)


def test_timings_that_are_damaged_are_measured_anew(small_config: ModelConfig, tmp_path: Path):
    """A file cut short by a full disk does not stand in the way of every later build."""
    graph, builder = small_decoder(small_config, tmp_path), PlanBuilder.find(tmp_path)
    builder.timing_cache.write_bytes(b"no timings")
    builder.build(graph, tmp_path / "plan", say_nothing)
    assert len(builder.timing_cache.read_bytes()) > len(b"no timings")
    assert {file.name for file in tmp_path.iterdir()} >= {"plan", builder.timing_cache.name}
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")], "nothing is left beside it"


HANGS = """
import os, sys, time
from pathlib import Path

Path(__file__).with_name("pid").write_text(str(os.getpid()))
os.write(1, b"what a library prints is no message" + bytes([10]))
print('{"phase": "building", "done": 0, "total": 1}', flush=True)
time.sleep(60)
"""


def test_a_build_that_is_stopped_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The builder's process ends with whoever listens to it, by whatever signal that was stopped."""
    (tmp_path / "hanging_library.py").write_text(HANGS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    told: Reports = []

    def stop(*report: Any) -> None:
        told.append(report)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        PlanBuilder("hanging_library", tmp_path / "t").build(tmp_path / "step.onnx", tmp_path / "plan", stop)
    assert told == [("step: building", 0, 1)]
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_builder_that_is_missing_is_said_so(tmp_path: Path):
    """A library that cannot be imported ends its process; the export says which."""
    with pytest.raises(Unavailable, match=r"no_such_library cannot build step \(No module named"):
        PlanBuilder("no_such_library", tmp_path / "t").build(tmp_path / "step.onnx", tmp_path / "p", say_nothing)


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ({"version": "9.9.9"}, "was built by tensorrt_rtx 9.9.9, here is tensorrt_rtx"),
        ({"gpu": "Imaginary GPU"}, "was built on Imaginary GPU, here is"),
        ({"driver": "1.2.3"}, "was built under driver 1.2.3, here is"),
    ],
)
def test_a_plan_that_was_built_elsewhere_is_refused_before_it_is_read(
    place: dict[str, str], reason: str, built: tuple[ExportManifest, Reports]
):
    """Another version, another GPU, another driver: a sentence each, and nothing is deserialised."""
    export, _ = built
    before = export.networks["step"].place
    assert before is not None
    try:
        with pytest.raises(BadBundle, match=reason):
            open_graph(changed(export, "step", replace(before, **place)), "step", "cuda")
    finally:
        changed(export, "step", before)


def test_a_stale_plan_is_refused_before_it_is_read(built: tuple[ExportManifest, Reports]):
    """Other bytes under the plan's name are not the plan that the manifest vouches for."""
    export, _ = built
    plan = export.folder / "decoder_init.plan"
    content = plan.read_bytes()
    plan.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    try:
        with pytest.raises(BadBundle, match="SHA-256"):
            open_graph(export, "decoder_init", "cuda")
    finally:
        plan.write_bytes(content)


@no_gpu
def test_without_a_gpu_pytorch_runs_and_the_reason_is_told(
    built: tuple[ExportManifest, Reports], small_bundle: Path, small_pipeline: Pipeline
):
    """Plans in the folder of a model do no harm on a machine that cannot run them."""
    export, _ = built
    networks = small_pipeline.networks
    manifest = load_bundle(small_bundle).manifest
    plans, (choice,) = choose_plans(small_pipeline.config, networks, manifest, export.folder.parent)
    assert (plans.dit, plans.decoder) == (None, None)
    assert "needs a GPU" in choice.reason


def test_the_manifest_says_where_a_plan_was_built(built: tuple[ExportManifest, Reports]):
    """As JSON, for people and for other programs."""
    export, _ = built
    written = json.loads((export.folder / MANIFEST).read_text())
    assert written["networks"]["step"]["place"]["library"] == "tensorrt_rtx"
    assert set(written["versions"]) == {"avacast", "torch", "onnx", "onnxscript"}
