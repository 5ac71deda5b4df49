"""`avacast export` and `avacast verify`: networks for other runtimes, and whether they compute the same.

It knows the terminal; writing and comparing are `exporter`'s and `verify`'s.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast, get_args

import typer

from avacast.engine.errors import BadBundle, BadSetting, Unavailable
from avacast.engine.profile import ProfileName

if TYPE_CHECKING:
    from avacast.engine.export_manifest import ExportManifest
    from avacast.export.verify import Finding

BundleArgument = Annotated[
    Path | None, typer.Argument(metavar="BUNDLE", help="Folder of a model.", show_default="the embedded pocket model")
]
ExportsOption = Annotated[
    Path | None, typer.Option("--exports", help="Folder of the exports.", show_default="BUNDLE/exports")
]


def export(
    bundle: BundleArgument = None,
    backend: Annotated[Literal["onnx", "tensorrt"], typer.Option(help="Runtime to export for.")] = "onnx",
    profile: Annotated[str, typer.Option(help="Profiles to export for, with commas: mic, tts, offline.")] = "mic",
    precision: Annotated[
        Literal["fp32", "fp16", "bf16", "fp8"], typer.Option(help="Of weights and numbers; a CPU runs no bf16 graphs.")
    ] = "fp32",
    batch: Annotated[int, typer.Option(min=1, help="Sessions that share a pass.")] = 1,
    exports: ExportsOption = None,
) -> None:
    """Export a model's networks to ONNX or to TensorRT plans.

    The shapes are fixed: those of a profile's windows and a batch size. An export belongs to the very model that it was
    made from, and a plan to the GPU, driver and TensorRT that built it; `avacast serve` and `avacast render` open
    neither elsewhere. They find exports in the model's folder, or in that of --exports, and use one only where it is
    faster than PyTorch; `avacast serve` says which and why when it starts.

    In fp8 the linear layers of the transformer's and the audio adapter's blocks are computed in eight bits (E4M3), with
    scales from a session that the export runs first; all else is as in fp16. It is for GPUs of compute capability 8.9
    and later: TensorRT refuses it for others, and on a CPU it gives the same numbers slower.

    The pocket model for ONNX Runtime: `avacast export`.

    For TensorRT: `avacast export models/stableavatar --backend tensorrt --precision bf16 --profile mic,tts`.

    Afterwards, always: `avacast verify models/stableavatar`.
    """
    from avacast.engine.bundle import embedded_bundle
    from avacast.export.exporter import ExportRequest, export_bundle

    names = [name.strip() for name in profile.split(",")]
    if unknown := [name for name in names if name not in get_args(ProfileName)]:
        raise BadSetting(f"there is no profile {unknown[0]!r}; there are {', '.join(get_args(ProfileName))}")
    requests = [ExportRequest(cast("ProfileName", name), batch, precision, backend) for name in names]
    for request in requests:
        with _progress() as report:
            manifest = export_bundle(bundle or embedded_bundle(), request, exports, report)
        num_bytes = sum(entry.num_bytes for network in manifest.networks.values() for entry in network.files.values())
        typer.echo(f"{manifest.folder}: {', '.join(manifest.networks)}, {num_bytes / 1e6:,.0f} MB")


def verify(
    bundle: BundleArgument = None,
    exports: ExportsOption = None,
    picture: Annotated[
        Path | None, typer.Option(help="Portrait to animate meanwhile.", show_default="one of the gallery")
    ] = None,
    device: Annotated[str, typer.Option(help="Where both run: cpu or cuda.")] = "cpu",
) -> None:
    """Compare a model's exports with PyTorch in float32, on the inputs of a real session.

    Prints the relative error of every tensor, the PSNR of decoded frames, and that of a whole stream. Ends with an
    error when one is past its bound: 1e-4 for fp32, 1e-2 for fp16, 3e-2 for bf16, 1e-1 where a network is computed in
    fp8, and 35 dB; or when an export cannot run here, after the others.

    The pocket model's: `avacast verify`.

    On a GPU, which TensorRT plans need: `avacast verify models/stableavatar --device cuda`.
    """
    import torch

    from avacast.engine.bundle import embedded_bundle
    from avacast.engine.pipeline import Pipeline
    from avacast.engine.portrait import load_portrait
    from avacast.export.rehearsal import VERIFICATION, gallery_portrait, spoken
    from avacast.export.verify import findings

    bundle = bundle or embedded_bundle()
    manifests = _exports_of(bundle, exports)
    if device != "cpu" and not torch.cuda.is_available():
        raise Unavailable(f"there is no device {device!r} here; choose cpu")
    pipeline = Pipeline.load(bundle, device=device, dtype=torch.float32)
    portrait, samples = load_portrait(picture or gallery_portrait()), spoken(VERIFICATION)

    def compare(manifest: ExportManifest) -> list[Finding]:
        with _progress() as report:
            return list(findings(manifest, pipeline, portrait, samples, report))

    _report(manifests, compare)


def _exports_of(bundle: Path, exports: Path | None) -> list[ExportManifest]:
    """The manifests in `exports`, all of this very model. Raises BadBundle, and BadSetting where there are none."""
    from avacast.engine.export_manifest import EXPORTS, ExportManifest, export_folders
    from avacast.engine.manifest import Manifest

    place = exports or bundle / EXPORTS
    model, manifests = Manifest.read(bundle), [ExportManifest.read(folder) for folder in export_folders(place)]
    if not manifests:
        raise BadSetting(f"there are no exports in {place}; run `avacast export` first")
    for manifest in manifests:
        manifest.check_bundle(model)
    return manifests


def _report(manifests: Iterable[ExportManifest], compare: Callable[[ExportManifest], list[Finding]]) -> None:
    """Prints what is found of each export. Raises BadBundle past a bound, Unavailable where one cannot run."""
    past: list[Finding] = []
    left_out: list[str] = []
    for manifest in manifests:
        typer.echo(f"{manifest.folder.name}:")
        try:
            found = compare(manifest)
        except Unavailable as error:
            typer.echo(f"  not compared: {error}")
            left_out.append(manifest.folder.name)
            continue
        for finding in found:
            typer.echo(f"  {finding}")
        past += [finding for finding in found if not finding.holds]
    if past:
        raise BadBundle(f"{len(past)} of the comparisons are past their bound, first {past[0].what}; export again")
    if left_out:
        raise Unavailable(f"not compared: {', '.join(left_out)}; verify them where their runtime is")


@contextlib.contextmanager
def _progress() -> Generator[Callable[[str, int, int], None]]:
    """A bar for each thing that is reported."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    tasks: dict[str, Any] = {}
    with Progress(*columns, console=Console(stderr=True)) as progress:

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done, total=total)

        yield report
