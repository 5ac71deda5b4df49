"""`avacast bench streaming`: the profiles of the streaming core side by side, and beside the offline loop.

Each profile streams the held-out clips, and one long stream (`long_stream`). Knows what is compared and the table; how
a stream is run is `profile_run`'s. Reports and judges nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np
import typer
from numpy.typing import NDArray

from avacast.bench.held_out_clip import HELD_OUT, HeldOutClip, read_held_out
from avacast.bench.long_stream import LongRun, Turns, long_run
from avacast.bench.model import BundleOption, JsonOption, RandomWeightsOption, ThreadsOption, open_model
from avacast.bench.result import Result
from avacast.engine.profile import Profile, ProfileName
from avacast.engine.windows import WindowPlan, latents_for_frames

if TYPE_CHECKING:
    from rich.table import Table

    from avacast.bench.profile_run import ClipRun
    from avacast.engine.pipeline import Pipeline


class Case(NamedTuple):
    """One way of streaming."""

    name: str
    profile: ProfileName
    at_once: bool
    """Whether the sound is there well before it is heard, or comes as it is spoken."""

    @property
    def ahead_s(self) -> float:
        """How far the sound is ahead of the frames: when it is, beyond any look-ahead of a profile."""
        return 10.0 if self.at_once else 0.0


CASES = (
    Case("offline", "offline", True),
    Case("mic", "mic", False),
    Case("tts, sound at once", "tts", True),
    Case("tts, as spoken", "tts", False),
)
"""Where the offline loop is among them it comes first: the others are compared with it."""


@dataclass(frozen=True)
class Row:
    """One case."""

    case: str
    latency_ms: float
    """Algorithmic, by the formula."""
    measured_latency_ms: float
    """The same of a stream whose sound comes in pieces of 5 ms; up to 5 ms too much."""
    passes_per_hop: float
    """Of the network, for each window."""
    compute_per_hop_ms: float
    hop_media_ms: float
    """What a hop lasts: compute beyond it is too late."""
    real_time_factor: float
    seam_ratio: float
    latent_seam_ratio: float
    """At all latent frames, the seams of windows or not."""
    lip_correlation: float
    psnr_to_offline_db: float
    """Mean over the clips; NaN where the offline loop was left out."""
    long: LongRun


def streaming(
    minutes: Annotated[float, typer.Option(min=0.05, max=60, help="Length of each long stream, about.")] = 10.0,
    profile: Annotated[
        ProfileName | None, typer.Option(help="Only this profile; for a very long stream.", show_default="all")
    ] = None,
    bundle: BundleOption = None,
    clips: Annotated[Path, typer.Option(help="Folder of held-out clips.", show_default="the shipped ones")] = HELD_OUT,
    json_file: JsonOption = None,
    random_weights: RandomWeightsOption = False,
    threads: ThreadsOption = 0,
) -> None:
    """Compare the profiles mic, tts and offline: latency, compute, seams, lips, colour drift, memory.

    The held-out clips are streamed through every profile (tts with all sound at once, and as it is spoken), after one
    long stream, in which the same clips are said again and again. With 10 minutes it takes about as long as 43 minutes
    of video do on this machine; for a quick look:

        avacast bench streaming --minutes 0.2

    Whether half an hour of a live session looks as its first minute does:

        avacast bench streaming --profile mic --minutes 30

    Prints a table, and the result as one line of JSON at the end.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from avacast.bench.profile_run import told_clips

    cases = [case for case in CASES if profile in (None, case.profile)]
    pipeline = open_model(bundle, random_weights=random_weights, threads=threads)
    told = told_clips(pipeline, read_held_out(clips))
    turns = Turns.lasting(told, 60 * minutes)
    num_frames = len(cases) * (sum(clip.num_frames for clip in told) + turns.num_frames)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), "left", TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("streaming", total=num_frames)
        rows = measure(pipeline, cases, told, turns, lambda: progress.advance(task))
    Console().print(streaming_table(rows), highlight=False)
    seeds = {clip.name: clip.seed for clip in told}
    figures = {"model": pipeline.describe(), "clip_seeds": seeds}
    result = Result.of("streaming", figures | {"rows": [asdict(row) for row in rows]})
    if json_file is not None:
        result.save(json_file)
    print(result.to_json())


def measure(
    pipeline: Pipeline,
    cases: Sequence[Case],
    clips: Sequence[HeldOutClip],
    turns: Turns,
    on_frame: Callable[[], None] = lambda: None,
) -> list[Row]:
    """The cases on the clips; `on_frame` is called after each frame of any of them."""
    from avacast.bench.profile_run import stream_clips

    # First, so that no clip's frames are in the memory that is measured.
    long_runs = [long_run(pipeline, case.profile, turns, ahead_s=case.ahead_s, on_frame=on_frame) for case in cases]
    rows: list[Row] = []
    offline: ClipRun | None = None
    for case, long in zip(cases, long_runs, strict=True):
        profile = pipeline.config.profile(case.profile)
        run = stream_clips(pipeline, profile, clips, ahead_s=case.ahead_s, on_frame=on_frame)
        offline = run if case.profile == "offline" else offline
        rows.append(_row(pipeline, case, profile, clips, run, offline, long))
    return rows


def _row(
    pipeline: Pipeline,
    case: Case,
    profile: Profile,
    clips: Sequence[HeldOutClip],
    run: ClipRun,
    offline: ClipRun | None,
    long: LongRun,
) -> Row:
    from avacast.bench import profile_run

    plan, fps = WindowPlan.from_config(profile.window), pipeline.config.fps
    num_hops = sum(plan.num_windows(latents_for_frames(len(frames))) for frames in run.frames)
    media_s = sum(len(frames) for frames in run.frames) / fps
    seam_ratio, latent_seam_ratio = profile_run.seam_ratios(run, profile)
    pairs = zip(run.frames, offline.frames, strict=True) if offline else ()
    psnrs = [psnr_db(ours, theirs) for ours, theirs in pairs]
    return Row(
        case=case.name,
        latency_ms=profile_run.formula_latency_ms(pipeline, profile),
        measured_latency_ms=profile_run.measured_latency_ms(pipeline, profile, clips[0]),
        passes_per_hop=run.num_passes / num_hops,
        compute_per_hop_ms=1000 * run.compute_s / num_hops,
        hop_media_ms=4000 * profile.window.hop / fps,
        real_time_factor=run.compute_s / media_s,
        seam_ratio=seam_ratio,
        latent_seam_ratio=latent_seam_ratio,
        lip_correlation=profile_run.lip_correlation(run, clips),
        psnr_to_offline_db=float(np.mean(psnrs)) if psnrs else math.nan,
        long=long,
    )


def psnr_db(frames: NDArray[np.uint8], others: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio between two videos `[F, H, W, 3]`; infinite where they are equal."""
    squares = [np.mean((a.astype(np.float32) - b) ** 2) for a, b in zip(frames, others, strict=True)]
    error = float(np.mean(squares))
    return 10 * math.log10(255**2 / error) if error else math.inf


def streaming_table(rows: Sequence[Row]) -> Table:
    """A column for each case, a line for each figure."""
    from rich.table import Table

    minutes = rows[0].long.minutes
    lines: dict[str, Callable[[Row], str]] = {
        "latency": lambda row: f"{row.latency_ms:.0f} ms",
        "  measured": lambda row: f"{row.measured_latency_ms:.0f} ms",
        "passes a hop": lambda row: f"{row.passes_per_hop:.2f}",
        "compute a hop": lambda row: f"{row.compute_per_hop_ms:.0f}/{row.hop_media_ms:.0f} ms",
        "real-time factor": lambda row: f"{row.real_time_factor:.3f}",
        "seam ratio": lambda row: f"{row.seam_ratio:.3f}",
        "  all latents": lambda row: f"{row.latent_seam_ratio:.3f}",
        "lip correlation": lambda row: f"{row.lip_correlation:.3f}",
        "PSNR to offline": lambda row: f"{row.psnr_to_offline_db:.1f} dB",
        f"{minutes:.3g} min: colour drift": lambda row: f"{row.long.colour_drift:.2f}",
        "  in the same words": lambda row: f"{row.long.same_words_drift:.2f}",
        "  from one turn to the next": lambda row: f"{row.long.next_turn_drift:.2f}",
        "  lips, first turn": lambda row: f"{row.long.early_lip_correlation:.3f}",
        "  lips, last turn": lambda row: f"{row.long.late_lip_correlation:.3f}",
        f"  memory, {min(1, minutes / 10):.2g} min": lambda row: f"{row.long.early_memory_mb:.0f} MB",
        "  memory, last turn": lambda row: f"{row.long.late_memory_mb:.0f} MB",
    }
    table = Table("figure", *(row.case for row in rows))
    for name, cell in lines.items():
        table.add_row(name, *(cell(row) for row in rows))
    return table
