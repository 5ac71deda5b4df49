"""`avacast bench quality`: renders the held-out clips and sets the figures beside their targets.

Knows the targets and the table. Reports and judges nothing: it always ends well.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from avacast.bench.clip_figures import Figures, figures_of, figures_of_truth, mean_of
from avacast.bench.held_out_clip import HELD_OUT, HeldOutClip, read_held_out
from avacast.bench.model import BundleOption, JsonOption, RandomWeightsOption, ThreadsOption, open_model
from avacast.bench.recordings import recorded_clips
from avacast.bench.result import Result
from avacast.engine import measures
from avacast.engine.errors import BadSetting
from avacast.engine.profile import ProfileName

if TYPE_CHECKING:
    from rich.table import Table

    from avacast.engine.pipeline import Pipeline

TARGETS = {
    "lip_correlation": "≥ 0.90",
    "envelope_correlation": "≥ 0.60",
    "lag_ms": "within 40",
    "amplitude": "0.8 to 1.2",
    "closed_in_pauses": "≥ 0.95",
    "bilabials_closed": "≥ 0.80",
    "rounded_width": "< 1",
    "teeth_shown": "≥ 0.80",
    "rest_jitter": "near true",
    "blinks_per_minute": "8 to 30",
    "blink_correlation": "near true",
    "head_motion": "near true",
    "background_ssim": "≥ 0.95",
    "colour_error": "≤ 3",
    "still_difference": "≤ 1.5 true",
    "window_joint": "≤ 1.10",
    "latent_joint": "≤ 1.15",
    "sharpness": "≥ 0.80",
    "colour_drift": "near true",
}
"""What is asked of each figure."""

CLIP_FIGURES = ("lip_correlation", "lag_ms", "amplitude", "envelope_correlation", "closed_in_pauses")
"""What the table of single clips shows."""


def quality(
    bundle: BundleOption = None,
    clips: Annotated[Path, typer.Option(help="Folder of held-out clips.", show_default="the shipped ones")] = HELD_OUT,
    recordings: Annotated[
        Path | None,
        typer.Option(help="Folder of sound files in which people speak: the longest ten are judged instead."),
    ] = None,
    profile: Annotated[ProfileName, typer.Option(help="How the model is run: its windows and look-ahead.")] = "mic",
    json_file: JsonOption = None,
    random_weights: RandomWeightsOption = False,
    threads: ThreadsOption = 0,
) -> None:
    """Measure what a model shows on people, voices and words that training never met.

    Prints a table with targets beside the figures, and the result as one line of JSON at the end. The clips are
    drawn, and the model is given their heads' motion. Eight are spoken by espeak-ng; four by flite, whose voices are
    made of recordings of people, and have a column of their own. What your own recordings tell is what needs no true
    frames: whether the mouth follows the loudness, rests in pauses, and how often the eyes blink.

    Examples:

        avacast bench quality --json quality.json

        avacast bench quality --recordings interviews
    """
    from rich.console import Console
    from rich.progress import track

    pipeline = open_model(bundle, random_weights=random_weights, threads=threads)
    held_out = read_held_out(clips)
    if recordings is not None:
        held_out = recorded_clips(recordings, held_out)
    console = Console(stderr=True)
    rows = {clip.name: measure(pipeline, clip, profile) for clip in track(held_out, "rendering", console=console)}
    mean = mean_of([rows[clip.name] for clip in held_out if not clip.recorded])
    recorded = mean_of([rows[clip.name] for clip in held_out if clip.recorded])
    window = pipeline.config.profile(profile).window
    true = mean_of([figures_of_truth(clip, clip.truth, window) for clip in held_out if clip.truth])
    Console().print(quality_table(mean, recorded, true))
    Console().print(clip_table(rows))
    model = {"model": pipeline.describe(), "profile": profile}
    means = {"mean": asdict(mean), "recorded": asdict(recorded), "true": asdict(true), "targets": TARGETS}
    result = Result.of("quality", model | means | {"clips": {name: asdict(row) for name, row in rows.items()}})
    if json_file is not None:
        result.save(json_file)
    print(result.to_json())


def measure(pipeline: Pipeline, clip: HeldOutClip, profile: ProfileName = "mic") -> Figures:
    """Renders one clip and reads its figures. Raises BadSetting when the model's rate or size is another."""
    config = pipeline.config
    if (config.height, config.width, config.fps) != (*clip.portrait.shape[:2], clip.fps):
        height, width = clip.portrait.shape[:2]
        raise BadSetting(
            f"clip {clip.name} is {width}x{height} at {clip.fps} fps, the model {config.width}x{config.height} at "
            f"{config.fps}; write a set for it with `avacast train held-out`"
        )
    return figures_of(render(pipeline, clip, profile), clip, config.profile(profile).window)


def render(pipeline: Pipeline, clip: HeldOutClip, profile: ProfileName) -> measures.Frames:
    """The model's frames of a clip, uint8 `[F, H, W, 3]`; its head is told to move as the true one did."""
    session = pipeline.open_session(clip.portrait, seed=clip.seed, profile=profile)
    session.push(clip.samples)
    session.flush()
    images: list[NDArray[np.uint8]] = []
    while not session.finished:
        images += [frame.image for frame in session.pull()]
    return np.stack(images)


def quality_table(mean: Figures, recorded: Figures, true: Figures) -> Table:
    """A line for each figure: the target, the model's means over voices that a program makes up and over voices of
    people, and what true frames would score.
    """
    from rich.table import Table

    table = Table("figure", "target", "espeak-ng", "people", "true")
    for name, target in TARGETS.items():
        columns = (getattr(column, name) for column in (mean, recorded, true))
        table.add_row(name.replace("_", " "), target, *map(_cell, columns))
    return table


def clip_table(rows: dict[str, Figures]) -> Table:
    """A line for each clip: how its lips follow. What a clip does not tell is left empty; the JSON has the rest."""
    from rich.table import Table

    table = Table("clip", *(name.replace("_", " ") for name in CLIP_FIGURES))
    for name, row in rows.items():
        table.add_row(name, *(_cell(getattr(row, figure)) for figure in CLIP_FIGURES))
    return table


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}"
