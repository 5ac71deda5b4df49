"""The model that a command runs: from which folder, on which device, in which precision, in which runtimes.

The functions import torch when they are called, so a server may hand them to its worker process. Knows the engine's
door; how a network's runtime is chosen is the engine's.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avacast.engine.errors import BadSetting
from avacast.engine.manifest import Manifest

if TYPE_CHECKING:
    from avacast.engine.pipeline import Pipeline

DeviceOption = Annotated[str, typer.Option(help="cpu, cuda or cuda:1. auto: the GPU, if there is one.")]
ExportsOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder of `avacast export`'s exports, used where they are faster.", show_default="BUNDLE/exports"
    ),
]


def check_bundle(bundle: Path | None) -> None:
    """Raises BadBundle at once where there is no model, before anything large is imported or begun."""
    if bundle is not None:
        Manifest.read(bundle)


def load_fastest(
    bundle: Path | None, *, device: str = "auto", precision: str = "auto", exports: Path | None = None
) -> Pipeline:
    """The model in `bundle` (None: the embedded one), each network in what is fastest here, which is logged.

    Raises BadBundle, BadSetting for a precision or device that is none, Unavailable for a device that is not here.
    """
    from avacast.engine.bundle import embedded_bundle
    from avacast.engine.device import chosen_device
    from avacast.engine.pipeline import Pipeline
    from avacast.engine.precision import Precision

    if exports is not None and not exports.is_dir():
        raise BadSetting(f"{exports} is no folder; name the one that `avacast export` wrote to")
    dtype = Precision.asked(precision)
    return Pipeline.load_fastest(
        bundle or embedded_bundle(), device=chosen_device(device), dtype=dtype, exports=exports
    )


def load_repeatable(bundle: Path | None, *, device: str = "auto", precision: str = "auto") -> Pipeline:
    """The same in PyTorch alone, whose frames can be made again to the last bit: for recordings. Raises as above."""
    from avacast.engine.bundle import embedded_bundle
    from avacast.engine.device import chosen_device
    from avacast.engine.pipeline import Pipeline
    from avacast.engine.precision import Precision

    dtype = Precision.asked(precision)
    return Pipeline.load(bundle or embedded_bundle(), device=chosen_device(device), dtype=dtype)


def set_threads(threads: int) -> None:
    """Limits torch's CPU threads; 0 leaves them."""
    import torch

    if threads:
        torch.set_num_threads(threads)
