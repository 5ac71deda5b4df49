"""Exports: written, read, refused, verified, chosen. One small model is exported to ONNX and used by every test."""

from __future__ import annotations

import contextlib
import copy
import logging
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from avacast.engine.bundle import load_bundle, write_bundle
from avacast.engine.errors import BadBundle, BadSetting, Unavailable
from avacast.engine.export_manifest import ExportManifest, export_folders
from avacast.engine.graph_session import OnnxRuntimeSession, open_graph
from avacast.engine.manifest import MANIFEST, Entry, Manifest
from avacast.engine.pipeline import Pipeline
from avacast.engine.plan import Plans
from avacast.engine.plan_choice import choose_plans
from avacast.engine.portrait import Picture
from avacast.engine.sample_tail import Samples
from avacast.engine.static_form import StaticShape, signatures
from avacast.export.exporter import ExportRequest, export_bundle, with_plain_weights
from avacast.export.forms import static_forms
from avacast.export.onnx_file import write_onnx
from avacast.export.recording import stream
from avacast.export.verify import MIN_PSNR_DB, Finding, findings, min_psnr_db


def say_nothing(_what: str, _done: int, _total: int) -> None:
    """The report of a test."""


@pytest.fixture(scope="module")
def exports(small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model in float32, float16 and eight bits."""
    folder = tmp_path_factory.mktemp("exports")
    for precision in ("fp32", "fp16", "fp8"):
        export_bundle(small_bundle, ExportRequest(precision=precision), folder, say_nothing)
    return folder


@pytest.fixture
def copied(exports: Path, tmp_path: Path) -> Path:
    """The float32 export, to be spoilt."""
    return Path(shutil.copytree(exports / "mic-onnx-fp32-b1", tmp_path / "exports" / "mic-onnx-fp32-b1"))


@pytest.fixture
def manifest(small_bundle: Path) -> Manifest:
    return load_bundle(small_bundle).manifest


def found(export: ExportManifest, pipeline: Pipeline, picture: Picture, sound: Samples) -> list[Finding]:
    return list(findings(export, pipeline, picture, sound, say_nothing))


@pytest.mark.parametrize("precision", ["fp32", "fp16", "fp8"])
def test_an_export_computes_what_the_networks_do(
    precision: str, exports: Path, small_pipeline: Pipeline, picture: Picture, sound: Samples
):
    """Every tensor of every network on recorded inputs, the decoded frames, and a whole stream, in ONNX Runtime."""
    export = ExportManifest.read(exports / f"mic-onnx-{precision}-b1")
    results = found(export, small_pipeline, picture, sound)
    assert {finding.what.partition(":")[0] for finding in results} >= {"step", "decoder_init", "decoder_step"}
    assert results[-1].what.startswith("the whole stream")
    assert not [str(finding) for finding in results if not finding.holds]


def test_an_export_of_other_weights_is_past_its_bounds(
    exports: Path, small_pipeline: Pipeline, picture: Picture, sound: Samples
):
    """Verification fails where it must: against a model that differs in one layer of its transformer."""
    other = Pipeline.with_random_weights(small_pipeline.config, seed=3, dtype=torch.float32)
    export = ExportManifest.read(exports / "mic-onnx-fp32-b1")
    wrong = {finding.what for finding in found(export, other, picture, sound) if not finding.holds}
    assert {"step: output", "decoder_step: frames", "the whole stream, its worst frame"} <= wrong


def test_files_tell_nothing_of_the_machine_that_made_them(exports: Path):
    """No path of this source tree stands in a graph or a manifest."""
    root = str(Path(__file__).parent).encode()
    for file in exports.rglob("*"):
        assert file.is_dir() or root not in file.read_bytes(), file


def test_a_damaged_file_is_refused_before_it_is_opened(copied: Path):
    """One byte of the weights beside a graph is changed."""
    file = copied / "step.onnx.data"
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    with pytest.raises(BadBundle, match="SHA-256"):
        open_graph(ExportManifest.read(copied), "step", "cpu")


def test_a_changed_manifest_is_refused(copied: Path):
    """It is read only if it is written exactly as exports are."""
    file = copied / MANIFEST
    file.write_text(file.read_text().replace('"mic"', '"tts" '))
    with pytest.raises(BadBundle, match="changed after it was written"):
        ExportManifest.read(copied)


def test_a_file_outside_the_folder_cannot_be_named(copied: Path):
    """A manifest leads nowhere else."""
    file = copied / MANIFEST
    file.write_text(file.read_text().replace("step.onnx.data", "../step.onnx.data"))
    with pytest.raises(BadBundle, match="no files of an export"):
        ExportManifest.read(copied)


def test_an_export_of_another_model_is_refused(copied: Path, small_pipeline: Pipeline, tmp_path: Path):
    """The same model with one weight changed is another."""
    parts = small_pipeline.networks
    weights = {"dit": parts.dit, "vae": parts.vae, "speech_encoder": parts.speech_encoder}
    tensors = {name: dict(module.state_dict()) for name, module in weights.items()}
    tensors["vae"] = {name: tensor + 1e-3 for name, tensor in tensors["vae"].items()}
    write_bundle(tmp_path / "other", small_pipeline.config, tensors)
    other = load_bundle(tmp_path / "other").manifest
    with pytest.raises(BadBundle, match="another model"):
        ExportManifest.read(copied).check_bundle(other)


def test_choosing_says_what_runs_where_and_why(
    exports: Path, manifest: Manifest, small_pipeline: Pipeline, caplog: pytest.LogCaptureFixture
):
    """Every network of all exports is measured, equal graphs once; each choice is logged with its two times."""
    networks = small_pipeline.networks
    with caplog.at_level(logging.INFO):
        plans, choices = choose_plans(small_pipeline.config, networks, manifest, exports)
    # Eight bits and sixteen differ in the transformer alone.
    networks_of = Counter(choice.network.partition(",")[0] for choice in choices)
    assert networks_of == {"transformer": 3, "decoder": 2, "speech encoder": 2}
    assert all(" ms against " in choice.reason for choice in choices)
    assert [str(choice) for choice in choices] == caplog.messages
    taken = {choice.network.partition(",")[0] for choice in choices if choice.runs_in != "PyTorch"}
    planned = {"transformer": plans.dit, "decoder": plans.decoder, "speech encoder": plans.speech_encoder}
    assert taken == {name for name, plan in planned.items() if plan}


def test_equal_graphs_are_measured_once(copied: Path, manifest: Manifest, small_pipeline: Pipeline):
    """Profiles with equal windows have equal graphs; the second export of them changes nothing."""
    shutil.copytree(copied, copied.with_name("twin"))
    _, choices = choose_plans(small_pipeline.config, small_pipeline.networks, manifest, copied.parent)
    assert len(choices) == 3


def test_exports_of_several_batch_sizes_lie_beside_each_other(
    copied: Path,
    small_bundle: Path,
    manifest: Manifest,
    small_pipeline: Pipeline,
    picture: Picture,
    sound: Samples,
):
    """Sessions share passes of the transformer; decoder and encoder are the same graphs, and measured once."""
    export = export_bundle(small_bundle, ExportRequest(batch=2), copied.parent, say_nothing)
    assert not [str(finding) for finding in found(export, small_pipeline, picture, sound) if not finding.holds]
    _, choices = choose_plans(small_pipeline.config, small_pipeline.networks, manifest, copied.parent)
    sizes = [choice.network for choice in choices if choice.network.startswith("transformer")]
    assert sizes == ["transformer, 1 x 4 latent frames", "transformer, 2 x 4 latent frames"]
    assert len(choices) == 4


def test_the_fastest_pipeline_shows_what_the_plain_one_shows(
    exports: Path, small_bundle: Path, small_pipeline: Pipeline, picture: Picture, sound: Samples
):
    """Whatever was chosen, a stream differs by rounding at most."""
    fastest = Pipeline.load_fastest(small_bundle, dtype=torch.float32, exports=exports)
    profile = small_pipeline.config.profile("mic")
    frames = [stream(pipeline, profile, picture, sound) for pipeline in (fastest, small_pipeline)]
    assert min_psnr_db(*frames) >= MIN_PSNR_DB


def test_weights_are_computed_before_they_are_rounded():
    """A convolution whose weights are normed keeps them to the last bit of half precision."""
    conv = weight_norm(nn.Conv1d(256, 256, 15), dim=2)
    with torch.no_grad():
        conv.parametrizations.weight.original1.mul_(1e-3)
        exact = conv.weight.clone()
        assert not torch.equal(copy.deepcopy(conv).half().weight, exact.half()), "a norm of rounded weights differs"
    assert torch.equal(with_plain_weights(conv).half().weight, exact.half())


def test_an_export_of_other_graphs_leaves_pytorch_in_charge(
    copied: Path, manifest: Manifest, small_pipeline: Pipeline, picture: Picture, sound: Samples
):
    """Of the very model, but of a form that this avacast does not call: neither run nor compared."""
    export = ExportManifest.read(copied)
    step = export.networks["step"]
    other = replace(step, signature=replace(step.signature, inputs=step.signature.inputs[:-1]))
    (copied / MANIFEST).write_bytes(export.with_network("step", other).to_json())
    plans, (choice,) = choose_plans(small_pipeline.config, small_pipeline.networks, manifest, copied.parent)
    assert plans.dit is None
    assert "was made by another avacast" in choice.reason
    with pytest.raises(BadBundle, match="another avacast"):
        found(ExportManifest.read(copied), small_pipeline, picture, sound)


def test_a_damaged_export_leaves_pytorch_in_charge(copied: Path, manifest: Manifest, small_pipeline: Pipeline):
    """It is no error to start without an export; its reason is told."""
    (copied / "step.onnx").write_bytes(b"nonsense")
    networks = small_pipeline.networks
    plans, (choice,) = choose_plans(small_pipeline.config, networks, manifest, copied.parent)
    assert (plans.dit, plans.decoder, choice.runs_in) == (None, None, "PyTorch")
    assert "SHA-256" in choice.reason


def test_a_graph_that_the_runtime_refuses_leaves_pytorch_in_charge(
    copied: Path, manifest: Manifest, small_pipeline: Pipeline
):
    """A file that is intact by its digest and no ONNX graph: the runtime's own words are the reason."""
    export = ExportManifest.read(copied)
    broken = copied / "step.onnx"
    broken.write_bytes(b"no graph")
    step = export.networks["step"]
    entry = Entry.of(broken.read_bytes())
    export = export.with_network("step", replace(step, files={**step.files, "step.onnx": entry}))
    (copied / MANIFEST).write_bytes(export.to_json())
    networks = small_pipeline.networks
    _, (choice,) = choose_plans(small_pipeline.config, networks, manifest, copied.parent)
    assert choice.runs_in == "PyTorch"
    assert "cannot run step.onnx" in choice.reason


def test_an_export_is_replaced_whole_or_not_at_all(small_bundle: Path, tmp_path: Path):
    """What is no export is not overwritten, and nothing is left beside it."""
    place = tmp_path / ExportRequest().name
    place.mkdir()
    (place / "diary.txt").write_text("mine")
    with pytest.raises(BadSetting, match="is no export"):
        export_bundle(small_bundle, ExportRequest(), tmp_path, say_nothing)
    assert [path.name for path in tmp_path.rglob("*")] == [place.name, "diary.txt"]
    assert export_folders(tmp_path) == []


BY_ANOTHER_PROCESS = """
import resource
import sys
from pathlib import Path

from avacast.engine.errors import Unavailable
from avacast.export.exporter import ExportRequest, export_bundle

if max_bytes := int(sys.argv[3]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, max_bytes))
try:
    export_bundle(Path(sys.argv[1]), ExportRequest(), Path(sys.argv[2]), lambda *_: None)
except Unavailable as error:
    sys.exit(str(error))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files as Unix does")
def test_a_disk_that_is_full_leaves_the_older_export(copied: Path, small_bundle: Path):
    """In a sentence; what is there stays whole, and nothing is left beside it."""
    before = {file.name: file.read_bytes() for file in copied.iterdir()}
    command = [sys.executable, "-P", "-c", BY_ANOTHER_PROCESS, str(small_bundle), str(copied.parent), "50000"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert re.search(r"cannot be written \(.+\); check disk and rights$", done.stderr.strip())
    assert "(None)" not in done.stderr, "NumPy's errors have no number, and are told in their own words"
    assert "Traceback" not in done.stderr
    assert {file.name: file.read_bytes() for file in copied.iterdir()} == before
    assert [path.name for path in copied.parent.iterdir()] == [copied.name]


def test_a_place_that_cannot_be_written_is_refused_in_a_sentence(small_bundle: Path, tmp_path: Path):
    """A file where the folder should be, as a folder of somebody else's."""
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot be written"):
        export_bundle(small_bundle, ExportRequest(), tmp_path / "file" / "exports", say_nothing)


def test_what_a_killed_export_leaves_is_cleared_by_the_next(small_bundle: Path, tmp_path: Path):
    """Killed while it traces, so that nothing could be removed on the way out."""
    command = [sys.executable, "-P", "-c", BY_ANOTHER_PROCESS, str(small_bundle), str(tmp_path), "0"]
    with subprocess.Popen(command) as process:
        while process.poll() is None and not list(tmp_path.glob(".*/new/step.onnx")):
            time.sleep(0.01)
        process.kill()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(f".{ExportRequest().name}-{process.pid}-")
    export_bundle(small_bundle, ExportRequest(), tmp_path, say_nothing)
    assert [path.name for path in tmp_path.iterdir()] == [ExportRequest().name]


def test_two_exports_at_once_leave_one_whole_export(small_bundle: Path, tmp_path: Path):
    """Whoever ends last is there; the other may be told so, and nothing is mixed."""
    command = [sys.executable, "-P", "-c", BY_ANOTHER_PROCESS, str(small_bundle), str(tmp_path), "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as other:
        with contextlib.suppress(Unavailable):
            export_bundle(small_bundle, ExportRequest(), tmp_path, say_nothing)
        _, said = other.communicate()
    assert "Traceback" not in said
    export = ExportManifest.read(tmp_path / ExportRequest().name)
    for name, network in export.networks.items():
        for file in network.files:
            export.verified(name, file)
    assert [path.name for path in tmp_path.iterdir()] == [ExportRequest().name]


@pytest.mark.parametrize(
    "change",
    [{"profile": "choir"}, {"profile": ["mic"]}, {"batch": 0}, {"batch": "two"}, {"backend": "x"}],
    ids=str,
)
def test_a_manifest_of_values_that_are_none_leaves_pytorch_in_charge(
    change: dict[str, Any], copied: Path, manifest: Manifest, small_pipeline: Pipeline
):
    """Written as exports are, by another program: it is refused with its reason like any other."""
    export = ExportManifest.read(copied)
    (copied / MANIFEST).write_bytes(replace(export, **change).to_json())
    plans, choices = choose_plans(small_pipeline.config, small_pipeline.networks, manifest, copied.parent)
    assert plans == Plans()
    assert {choice.runs_in for choice in choices} == {"PyTorch"}


@pytest.mark.parametrize("request_", [{"precision": "fp4"}, {"batch": 0}])
def test_what_cannot_be_exported_is_refused_at_once(request_: dict[str, object]):
    """Before any model is read."""
    with pytest.raises(BadSetting):
        ExportRequest(**request_)  # type: ignore[arg-type]


def test_onnx_runtime_refuses_bfloat16_on_a_cpu_in_a_sentence(small_pipeline: Pipeline, tmp_path: Path):
    """Its CPU kernels lack that type; the error says what cannot run."""
    config = small_pipeline.config
    wanted = signatures(StaticShape(config, config.profile("mic"), 1, torch.bfloat16))["decoder_init"]
    rough = Pipeline.with_random_weights(config, dtype=torch.bfloat16).networks
    graph, *_ = write_onnx(
        static_forms(rough, {"step": wanted})["decoder_init"], wanted, tmp_path / "decoder_init.onnx"
    )
    with pytest.raises(Unavailable, match=r"cannot run decoder_init\.onnx"):
        OnnxRuntimeSession(graph, wanted, "cpu")
