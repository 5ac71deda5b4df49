"""`avacast bench windows`: which windows the live profiles should have, by measurement.

Two tables over the held-out clips: how neighbours are fused (ramp, fusion of the first step, overlap, weights) in the
model's own window, and how large a low-latency window is, what it holds back and how far it looks ahead. Knows what is
compared; how a stream is run is `profile_run`'s. Reports and judges nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from avacast.bench.held_out_clip import HELD_OUT, HeldOutClip, read_held_out
from avacast.bench.model import BundleOption, JsonOption, RandomWeightsOption, ThreadsOption, open_model
from avacast.bench.result import Result
from avacast.engine.config import SAMPLE_RATE_HZ
from avacast.engine.profile import Profile, WindowConfig

if TYPE_CHECKING:
    from rich.table import Table

    from avacast.engine.pipeline import Pipeline

RAMPS: tuple[Literal["closed", "open"], ...] = ("closed", "open")
WEIGHTS: tuple[Literal["log", "uniform"], ...] = ("log", "uniform")
OVERLAPS = (2, 4)
SMALL_WINDOWS = ((4, 3), (4, 2), (3, 2), (6, 5))
"""Window and overlap, in latent frames."""


@dataclass(frozen=True)
class Case:
    """One way of cutting and fusing; `table` is the comparison that it is part of."""

    table: Literal["fusion", "latency"]
    profile: Profile


@dataclass(frozen=True)
class Row:
    """What one case showed."""

    table: str
    window: int
    overlap: int
    ramp: str
    fuse_first_step: bool
    weights: str
    settle: int
    """Latent frames held back for the next window's fusion."""
    lookahead: int
    latency_ms: float
    """Algorithmic, by the formula."""
    seam_ratio: float
    latent_seam_ratio: float
    """At all latent frames; equal to the seam ratio where each window brings one."""
    lip_correlation: float
    passes_per_s: float
    """Of the network, for a second of video."""
    real_time_factor: float


def windows(
    seconds: Annotated[float, typer.Option(min=1, max=600, help="Video of each row.")] = 12.0,
    bundle: BundleOption = None,
    clips: Annotated[Path, typer.Option(help="Folder of held-out clips.", show_default="the shipped ones")] = HELD_OUT,
    json_file: JsonOption = None,
    random_weights: RandomWeightsOption = False,
    threads: ThreadsOption = 0,
) -> None:
    """Tabulate seams, lips and cost of every window, ramp, weight and look-ahead that a profile could have.

    The defaults of the profiles are chosen by these tables. Prints them, and the result as one line of JSON at the
    end. Every row streams as many held-out clips as it takes to fill `--seconds`.
    """
    from rich.console import Console
    from rich.progress import track

    from avacast.bench.profile_run import told_clips

    pipeline = open_model(bundle, random_weights=random_weights, threads=threads)
    told = enough_clips(told_clips(pipeline, read_held_out(clips)), seconds)
    all_cases = cases(pipeline.config.window, pipeline.config.sampler.num_steps)
    rows = [measure(pipeline, told, case) for case in track(all_cases, "streaming", console=Console(stderr=True))]
    Console().print(*(windows_table(rows, name) for name in ("fusion", "latency")), highlight=False)
    names = {clip.name: clip.seed for clip in told}
    figures = {"model": pipeline.describe(), "clip_seeds": names, "rows": [asdict(row) for row in rows]}
    result = Result.of("windows", figures)
    if json_file is not None:
        result.save(json_file)
    print(result.to_json())


def cases(window: WindowConfig, num_steps: int) -> list[Case]:
    """Both comparisons for a model that was trained in `window`; look-ahead only where there are steps for it."""
    fusion = [
        replace(window, overlap=overlap, ramp=ramp, fuse_first_step=fuse, weights=weights, settle=0)
        for overlap, ramp, fuse, weights in product(OVERLAPS, RAMPS, (False, True), WEIGHTS)
        if overlap < window.window
    ]
    latency = [
        Profile(replace(window, window=size, overlap=overlap, settle=settle), lookahead)
        for (size, overlap), lookahead in product(SMALL_WINDOWS, range(min(2, num_steps)))
        for settle in (0, overlap)
    ]
    return [Case("fusion", Profile(one)) for one in fusion] + [Case("latency", one) for one in latency]


def enough_clips(clips: Sequence[HeldOutClip], seconds: float) -> list[HeldOutClip]:
    """The first clips that together last `seconds`, or all of them."""
    chosen: list[HeldOutClip] = []
    for clip in clips:
        if sum(len(one.samples) for one in chosen) < seconds * SAMPLE_RATE_HZ:
            chosen.append(clip)
    return chosen


def measure(pipeline: Pipeline, clips: Sequence[HeldOutClip], case: Case) -> Row:
    """Streams the clips as a live session would and reads the figures."""
    from avacast.bench import profile_run

    profile, window = case.profile, case.profile.window
    run = profile_run.stream_clips(pipeline, profile, clips)
    media_s = sum(len(frames) for frames in run.frames) / pipeline.config.fps
    seam_ratio, latent_seam_ratio = profile_run.seam_ratios(run, profile)
    return Row(
        table=case.table,
        window=window.window,
        overlap=window.overlap,
        ramp=window.ramp,
        fuse_first_step=window.fuse_first_step,
        weights=window.weights,
        settle=window.held_back,
        lookahead=profile.lookahead,
        latency_ms=profile_run.formula_latency_ms(pipeline, profile),
        seam_ratio=seam_ratio,
        latent_seam_ratio=latent_seam_ratio,
        lip_correlation=profile_run.lip_correlation(run, clips),
        passes_per_s=run.num_passes / media_s,
        real_time_factor=run.compute_s / media_s,
    )


def windows_table(rows: Sequence[Row], name: str) -> Table:
    """The rows of one comparison."""
    from rich.table import Table

    settings = {
        "fusion": {"overlap": "overlap", "ramp": "ramp", "step 0 fused": "fuse_first_step", "weights": "weights"},
        "latency": {"window": "window", "overlap": "overlap", "settle": "settle", "ahead": "lookahead"},
    }[name]
    figures = {
        "latency ms": "{row.latency_ms:.0f}",
        "seam ratio": "{row.seam_ratio:.3f}",
        "all latents": "{row.latent_seam_ratio:.3f}",
        "lips": "{row.lip_correlation:.3f}",
        "pass/s": "{row.passes_per_s:.1f}",
        "RTF": "{row.real_time_factor:.2f}",
    }
    table = Table(*settings, *figures, padding=(0, 0))
    for row in rows:
        if row.table == name:
            cells = (str(getattr(row, setting)) for setting in settings.values())
            table.add_row(*cells, *(figure.format(row=row) for figure in figures.values()))
    return table
