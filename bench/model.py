"""The model that a benchmark measures, and the options that all benchmarks share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avacast.engine.profile import ProfileName

if TYPE_CHECKING:
    from avacast.engine.pipeline import Pipeline

BundleOption = Annotated[
    Path | None, typer.Option(help="Folder of another model.", show_default="the embedded pocket model")
]
JsonOption = Annotated[Path | None, typer.Option("--json", help="Write the result to this file too.")]
RandomWeightsOption = Annotated[
    bool, typer.Option("--random-weights", help="An untrained pocket model: same cost, no skill.")
]
ThreadsOption = Annotated[int, typer.Option(min=0, max=256, help="CPU threads; 0 leaves the choice to PyTorch.")]

DtypeOption = Annotated[
    str, typer.Option(help="Precision: auto (the fastest here), float32, bfloat16, or two, like bfloat16/float32.")
]
ProfileOption = Annotated[
    ProfileName,
    typer.Option(help="mic: somebody speaks live. tts: speech that comes faster. offline: all sound is known."),
]


def open_model(bundle: Path | None, *, random_weights: bool, threads: int, dtype: str = "auto") -> Pipeline:
    """The model in `bundle`, the embedded one, or an untrained one, in `dtype`. Raises BadBundle, BadSetting."""
    import torch

    from avacast.engine.bundle import embedded_bundle
    from avacast.engine.pipeline import Pipeline
    from avacast.engine.precision import Precision
    from avacast.engine.presets import POCKET

    precision = Precision.asked(dtype)
    if threads:
        torch.set_num_threads(threads)
    if random_weights:
        return Pipeline.with_random_weights(POCKET, dtype=precision)
    return Pipeline.load(bundle or embedded_bundle(), dtype=precision)
