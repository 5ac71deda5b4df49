"""A bundle's networks written out for one profile, batch, precision and backend, with a manifest of what they are.

Knows the order of things. Graphs are `onnx_file`'s, plans are `tensorrt_plan`'s, and the folder while it is made is
`unfinished`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeAlias

import torch
from torch import nn
from torch.nn.utils import parametrize

from avacast.engine.bundle import load_bundle
from avacast.engine.errors import BadSetting, Unavailable
from avacast.engine.export_manifest import EXPORTS, Backend, ExportedNetwork, ExportManifest, bundle_digest
from avacast.engine.graph_signature import GraphSignature
from avacast.engine.manifest import MANIFEST, Entry, file_digest
from avacast.engine.pipeline import Pipeline
from avacast.engine.portrait import load_portrait
from avacast.engine.profile import ProfileName
from avacast.engine.static_form import StaticShape, signatures
from avacast.export.float8 import Float8
from avacast.export.forms import FLOAT8_PARTS, static_forms
from avacast.export.onnx_file import require_onnx, write_onnx
from avacast.export.recording import batched, record
from avacast.export.rehearsal import CALIBRATION, gallery_portrait, spoken
from avacast.export.tensorrt_plan import PlanBuilder
from avacast.export.termination import Heeded
from avacast.export.unfinished import unfinished

Report: TypeAlias = Callable[[str, int, int], None]
"""(what is being done, how much of it is done, how much there is)."""

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16, "fp8": torch.float16}
"""The type of a graph's weights and numbers; tables, timesteps and modulation stay in float32 in all of them. That of
fp8 is what surrounds its products: float16 rather than bfloat16, which no CPU runs that could calibrate or verify."""

_NUM_CALIBRATED = 12
"""Calls from which scales are taken: several windows with all their steps."""

_PACKAGES = ("avacast", "torch", "onnx", "onnxscript")


@dataclass(frozen=True)
class ExportRequest:
    """What is to be exported, and for whom."""

    profile: ProfileName = "mic"
    batch: int = 1
    precision: str = "fp32"
    backend: Backend = "onnx"

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise BadSetting(f"there is no precision {self.precision!r}; choose one of {', '.join(PRECISIONS)}")
        if self.batch < 1:
            raise BadSetting(f"a batch of {self.batch} is none; give at least 1")

    @property
    def name(self) -> str:
        """Of the export's folder."""
        return f"{self.profile}-{self.backend}-{self.precision}-b{self.batch}"


def export_bundle(bundle: Path, request: ExportRequest, to: Path | None, report: Report) -> ExportManifest:
    """Exports the model in `bundle` to a folder in `to` (None: the bundle's own), replacing an older one of its name.

    Raises BadBundle for a damaged model, BadSetting for a network that cannot be exported, Unavailable where a package,
    the disk or the plan builder refuses.
    """
    require_onnx()
    opened = load_bundle(bundle)
    dtype = PRECISIONS[request.precision]
    shape = StaticShape(opened.config, opened.config.profile(request.profile), request.batch, dtype)
    exports = to or bundle / EXPORTS
    if (place := exports / request.name).exists() and not (place / MANIFEST).is_file():
        raise BadSetting(f"{place} exists and is no export; choose another folder")
    builder = PlanBuilder.find(exports) if request.backend == "tensorrt" else None
    float8 = _calibrations(bundle, shape, report) if request.precision == "fp8" else {}
    networks = Pipeline.load(bundle, dtype=dtype).networks
    with_plain_weights(networks.speech_encoder).to(dtype)
    wanted = signatures(shape)
    empty = ExportManifest(place, bundle_digest(opened.manifest), **vars(request), versions=_versions(), networks={})
    try:
        return _write(empty, wanted, static_forms(networks, wanted), float8, builder, report)
    except OSError as error:
        raise Unavailable(
            f"{empty.folder} cannot be written ({error.strerror or error}); check disk and rights"
        ) from error


def with_plain_weights(module: nn.Module) -> nn.Module:
    """`module`, whose weights that are computed from others (a norm of weights) have become weights of their own.

    Computed in a graph of half precision, from rounded ones, the pocket encoder's cost a per cent of its tokens.
    """
    for part in module.modules():
        if parametrize.is_parametrized(part):
            for name in tuple(part.parametrizations):  # type: ignore[arg-type]  # a ModuleDict is a mapping
                parametrize.remove_parametrizations(part, name)
    return module


def _calibrations(bundle: Path, shape: StaticShape, report: Report) -> Mapping[str, Float8]:
    """What a session feeds the networks that are to be computed in eight bits, by network."""
    pipeline = Pipeline.load(bundle, device="cuda" if torch.cuda.is_available() else "cpu", dtype=torch.float32)
    alone, wanted = (signatures(each) for each in (replace(shape, batch=1, dtype=torch.float32), shape))
    alone = {name: alone[name] for name in FLOAT8_PARTS}
    portrait, samples = load_portrait(gallery_portrait()), spoken(CALIBRATION)
    calls = record(
        pipeline,
        shape.profile,
        portrait,
        samples,
        alone,
        max_calls=_NUM_CALIBRATED,
        report=partial(report, "calibrating"),
    ).calls
    return {
        name: Float8(part, [call.inputs for call in batched(calls[name], wanted[name])])
        for name, part in FLOAT8_PARTS.items()
    }


def _write(
    manifest: ExportManifest,
    wanted: dict[str, GraphSignature],
    forms: dict[str, nn.Module],
    float8: Mapping[str, Float8],
    builder: PlanBuilder | None,
    report: Report,
) -> ExportManifest:
    """Writes all networks beside the manifest's folder, then the manifest, then renames."""
    with unfinished(manifest.folder) as export:
        with Heeded(export.discard):
            manifest = _with_graphs(manifest, wanted, forms, float8, export.folder, report)
        if builder is not None:
            for name, network in manifest.networks.items():
                manifest = manifest.with_network(name, _with_plan(network, export.folder, builder, report))
        (export.folder / MANIFEST).write_bytes(manifest.to_json())
        export.put_in_place()
    return manifest


def _with_graphs(
    manifest: ExportManifest,
    wanted: dict[str, GraphSignature],
    forms: dict[str, nn.Module],
    float8: Mapping[str, Float8],
    folder: Path,
    report: Report,
) -> ExportManifest:
    total, done = sum(map(_weight, forms.values())), 0
    report("tracing", done, total)
    for name, signature in wanted.items():
        change = partial(float8[name].quantise, signature=signature) if name in float8 else None
        files = write_onnx(forms[name].eval(), signature, folder / f"{name}.onnx", change=change)
        manifest = manifest.with_network(name, ExportedNetwork(signature, f"{name}.onnx", _entries(files)))
        report("tracing", done := done + _weight(forms[name]), total)
    return manifest


def _with_plan(network: ExportedNetwork, folder: Path, builder: PlanBuilder, report: Report) -> ExportedNetwork:
    plan = Path(network.graph).with_suffix(".plan").name
    place = builder.build(folder / network.graph, folder / plan, report)
    return replace(network, plan=plan, place=place, files={**network.files, **_entries([folder / plan])})


def _entries(files: Iterable[Path]) -> dict[str, Entry]:
    return {file.name: Entry(file_digest(file), file.stat().st_size) for file in files}


def _weight(form: nn.Module) -> int:
    """How long tracing takes, in no unit: it grows with the number of operations, which the parameters stand for."""
    return sum(1 for _ in form.parameters())


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found
