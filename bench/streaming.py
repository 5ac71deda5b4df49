"""`avacast bench streaming`: the profiles of the streaming core side by side, and beside the offline loop.

Each profile streams the held-out clips, and one long stream in which colours may drift and memory may grow. Knows what
is compared and the table; how a stream is run is `profile_run`'s. Reports and judges nothing.
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
from avacast.bench.model import BundleOption, JsonOption, RandomWeightsOption, ThreadsOption, open_model
from avacast.bench.result import Result
from avacast.engine import measures
from avacast.engine.profile import Profile, ProfileName
from avacast.engine.windows import WindowPlan, latents_for_frames

if TYPE_CHECKING:
    from rich.table import Table

    from avacast.bench.profile_run import ClipRun
    from avacast.engine.pipeline import Pipeline

NUM_DRIFT_FRAMES = 200
"""At either end of the long stream, as many as the paper's comparison asks for."""


class Case(NamedTuple):
    """One way of streaming."""

    name: str
    profile: ProfileName
    at_once: bool
    """Whether the sound is there well before it is heard, or comes as it is spoken."""


CASES = (
    Case("offline", "offline", True),
    Case("mic", "mic", False),
    Case("tts, sound at once", "tts", True),
    Case("tts, as spoken", "tts", False),
)
"""The offline loop comes first: the others are compared with it."""


@dataclass(frozen=True)
class LongRun:
    """One long stream."""

    colour_drift: float
    """CIEDE2000 between its first and its last 200 frames; motion adds to it."""
    early_memory_mb: float
    """Resident memory of the process after one minute, or a tenth of a shorter stream."""
    late_memory_mb: float
    """The same at its end."""


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
    """Mean over the clips."""
    long: LongRun


def streaming(
    minutes: Annotated[float, typer.Option(min=0.05, max=60, help="Length of each long stream.")] = 10.0,
    bundle: BundleOption = None,
    clips: Annotated[Path, typer.Option(help="Folder of held-out clips.")] = HELD_OUT,
    json_file: JsonOption = None,
    random_weights: RandomWeightsOption = False,
    threads: ThreadsOption = 0,
) -> None:
    """Compare the profiles mic, tts and offline: latency, compute, seams, lips, colour drift, memory.

    The held-out clips are streamed through every profile (tts with all sound at once, and as it is spoken), then one
    long stream. With 10 minutes it takes about as long as 40 minutes of video do on this machine; for a quick look:

        avacast bench streaming --minutes 0.2

    Prints a table, and the result as one line of JSON at the end.
    """
    from rich.console import Console
    from rich.progress import Progress

    from avacast.bench.profile_run import told_clips

    pipeline = open_model(bundle, random_weights=random_weights, threads=threads)
    told = told_clips(pipeline, read_held_out(clips))
    num_frames = len(CASES) * (sum(clip.num_frames for clip in told) + round(minutes * 60 * pipeline.config.fps))
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("streaming", total=num_frames)
        rows = measure(pipeline, told, minutes, lambda: progress.advance(task))
    Console().print(streaming_table(rows, minutes), highlight=False)
    seeds = {clip.name: clip.seed for clip in told}
    figures = {"model": pipeline.describe(), "minutes": minutes, "clip_seeds": seeds}
    result = Result.of("streaming", figures | {"rows": [asdict(row) for row in rows]})
    if json_file is not None:
        result.save(json_file)
    print(result.to_json())


def measure(
    pipeline: Pipeline, clips: Sequence[HeldOutClip], minutes: float, on_frame: Callable[[], None] = lambda: None
) -> list[Row]:
    """All cases on the clips; `on_frame` is called after each frame of any of them."""
    from avacast.bench.profile_run import AHEAD_S, stream_clips

    # First, so that no clip's frames are in the memory that is measured.
    long_runs = [long_run(pipeline, case, clips, minutes, on_frame) for case in CASES]
    rows: list[Row] = []
    offline: ClipRun | None = None
    for case, long in zip(CASES, long_runs, strict=True):
        profile = pipeline.config.profile(case.profile)
        ahead_s = AHEAD_S if case.at_once else 0.0
        run = stream_clips(pipeline, profile, clips, ahead_s=ahead_s, on_frame=on_frame)
        offline = offline or run
        rows.append(_row(pipeline, case, profile, clips, run, offline, long))
    return rows


def _row(
    pipeline: Pipeline,
    case: Case,
    profile: Profile,
    clips: Sequence[HeldOutClip],
    run: ClipRun,
    offline: ClipRun,
    long: LongRun,
) -> Row:
    from avacast.bench import profile_run

    plan, fps = WindowPlan.from_config(profile.window), pipeline.config.fps
    num_hops = sum(plan.num_windows(latents_for_frames(len(frames))) for frames in run.frames)
    media_s = sum(len(frames) for frames in run.frames) / fps
    seam_ratio, latent_seam_ratio = profile_run.seam_ratios(run, profile)
    psnrs = [psnr_db(ours, theirs) for ours, theirs in zip(run.frames, offline.frames, strict=True)]
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
        psnr_to_offline_db=float(np.mean(psnrs)),
        long=long,
    )


def long_run(
    pipeline: Pipeline, case: Case, clips: Sequence[HeldOutClip], minutes: float, on_frame: Callable[[], None]
) -> LongRun:
    """The first clip's picture speaks all clips in turn for `minutes`, in one session."""
    from avacast.bench.profile_run import AHEAD_S, frames_as_they_come

    config = pipeline.config
    num_frames = round(minutes * 60 * config.fps)
    sound = np.resize(np.concatenate([clip.samples for clip in clips]), num_frames * config.samples_per_frame)
    session = pipeline.open_session(clips[0].portrait, seed=clips[0].seed, profile=case.profile)
    num_ends = min(NUM_DRIFT_FRAMES, num_frames // 2)
    # Filled, so that all of it is resident before memory is first read.
    ends = np.full((2 * num_ends, *clips[0].portrait.shape), 255, np.uint8)
    early_memory_mb = float("nan")
    for frame in frames_as_they_come(
        session, sound, config.samples_per_frame, ahead_s=AHEAD_S if case.at_once else 0.0
    ):
        if frame.pts < num_ends:
            ends[frame.pts] = frame.image
        elif frame.pts >= num_frames - num_ends:
            ends[frame.pts - num_frames] = frame.image
        if frame.pts == round(min(60 * config.fps, num_frames / 10)):
            early_memory_mb = resident_mb()
        on_frame()
    return LongRun(measures.colour_drift(ends, num_ends), early_memory_mb, resident_mb())


def resident_mb() -> float:
    """Memory that this process holds now; NaN where the system does not tell as Linux does."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    kilobytes = [float(line.split()[1]) for line in lines if line.startswith("VmRSS")]
    return kilobytes[0] * 1024 / 1e6 if kilobytes else float("nan")


def psnr_db(frames: NDArray[np.uint8], others: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio between two videos `[F, H, W, 3]`; infinite where they are equal."""
    squares = [np.mean((a.astype(np.float32) - b) ** 2) for a, b in zip(frames, others, strict=True)]
    error = float(np.mean(squares))
    return 10 * math.log10(255**2 / error) if error else math.inf


def streaming_table(rows: Sequence[Row], minutes: float) -> Table:
    """A column for each case, a line for each figure."""
    from rich.table import Table

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
        "colour drift": lambda row: f"{row.long.colour_drift:.2f}",
        f"memory, {min(1, minutes / 10):g} min": lambda row: f"{row.long.early_memory_mb:.0f} MB",
        f"  {minutes:g} min": lambda row: f"{row.long.late_memory_mb:.0f} MB",
    }
    table = Table("figure", *(row.case for row in rows))
    for name, cell in lines.items():
        table.add_row(name, *(cell(row) for row in rows))
    return table
