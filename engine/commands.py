"""`avacast import` and `avacast inspect`: the released files become a bundle, and a bundle says what is inside.

It knows the terminal; reading and writing are `importer`'s and `bundle`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avacast.engine.errors import BadSetting

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from avacast.engine.bundle import Bundle
    from avacast.engine.importer import Report


def import_model(
    source: Annotated[
        Path,
        typer.Argument(metavar="SOURCE", help="Folder of FrancisRing/StableAvatar, or Hugging Face's cache with it."),
    ],
    to: Annotated[Path, typer.Option("--to", help="Folder of the bundle to write; an older bundle is replaced.")],
    variant: Annotated[
        str | None,
        typer.Option(help="Transformer to take: square or rec-vec.", show_default="square where it is there"),
    ] = None,
) -> None:
    """Turn the released StableAvatar 1.3B files into a bundle.

    Everything is checked first; the source is only read. The bundle takes about 11 GB where the files are float32.

    Examples:

        avacast import ~/StableAvatar --to models/stableavatar

        avacast import ~/.cache/huggingface/hub --to models/wide --variant rec-vec
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from avacast.engine.importer import import_released
    from avacast.engine.public_layout import VARIANTS
    from avacast.engine.released_model import ReleasedModel

    if variant is not None and variant not in VARIANTS:
        raise BadSetting(f"there is no variant {variant!r}; choose {' or '.join(VARIANTS)}")
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        import_released(source, to, ReleasedModel.stableavatar(), variant=variant, report=_report_to(progress))
    typer.echo(f"{to}: imported; try `avacast inspect {to}`")


def inspect_bundle(
    bundle: Annotated[
        Path | None,
        typer.Argument(metavar="BUNDLE", help="Folder of a model.", show_default="the embedded pocket model"),
    ] = None,
) -> None:
    """Print what is inside a bundle, after checking every file's SHA-256.

    Examples:

        avacast inspect

        avacast inspect models/stableavatar
    """
    from avacast.engine.bundle import embedded_bundle, load_bundle

    opened = load_bundle(bundle or embedded_bundle())
    for line in (*describe_config(opened), *describe_files(opened)):
        typer.echo(line)


def describe_config(bundle: Bundle) -> list[str]:
    """The configuration in words, line by line."""
    config = bundle.config
    dit, window, sampler = config.dit, config.window, config.sampler
    lines = [
        f"{config.name}: {config.width}x{config.height} at {config.fps} fps",
        f"transformer: {dit.num_layers} blocks of width {dit.dim}, {dit.num_heads} heads, "
        f"{'reads text' if dit.text_dim else 'no text'}, {'sees the picture' if dit.clip_dim else 'no image tokens'}",
        f"sampler: {sampler.num_steps} steps, shift {sampler.shift:g}",
        f"windows: {window.window} latent frames, {window.overlap} overlapping, {window.weights} weights",
        f"auto-encoder: {config.vae.kind}{', and a tiny one for live sessions' if config.live_vae else ''}",
    ]
    if config.prompts is not None:
        lines += [f"prompt: {config.prompts.positive}", f"negative prompt: {config.prompts.negative}"]
    return lines


def describe_files(bundle: Bundle) -> Iterator[str]:
    """A line for each file, whose SHA-256 is checked. Raises BadBundle at the first that is damaged."""
    for file, entry in bundle.manifest.entries.items():
        name, _, kind = file.partition(".")
        size = f"{file:<28}{entry.num_bytes / 1e6:>10,.1f} MB  intact"
        if kind != "safetensors":
            bundle.manifest.verify(file)
            yield size
            continue
        tensors = bundle.tensors(name)
        types = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()})
        num_parameters = sum(tensor.numel() for tensor in tensors.values())
        yield f"{size}  {len(tensors):>5} tensors  {num_parameters:>13,} parameters  {', '.join(types)}"


def _report_to(progress: Progress) -> Report:
    """A bar for each thing that is reported."""
    tasks: dict[str, TaskID] = {}

    def report(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = progress.add_task(what, total=total)
        progress.update(tasks[what], completed=done)

    return report
