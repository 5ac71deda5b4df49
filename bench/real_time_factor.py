"""`avacast bench speed`: compute over media of the engine on this machine, part by part, beside what is possible.

The floor is the transformer's counted operations at the rate of one large matrix product, measured in the same run.
Knows the engine's door; knows no network and no pacing.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from avacast.bench.model import (
    BundleOption,
    DtypeOption,
    JsonOption,
    ProfileOption,
    RandomWeightsOption,
    ThreadsOption,
    open_model,
)
from avacast.bench.result import Result
from avacast.engine.config import SAMPLE_RATE_HZ, TEMPORAL_STRIDE
from avacast.engine.profile import ProfileName

if TYPE_CHECKING:
    import torch
    from rich.table import Table

    from avacast.engine.pipeline import Pipeline

_TEXT = "The early bird may get the worm, but my mother bought a purple boat, and we have all been happy ever since. "
_CEILING_SIDE = 1024
_CEILING_TRIES = 12
_WARM_UP_S = 2.0


@dataclass(frozen=True)
class Run:
    """One timed stream."""

    media_s: float
    compute_s: float
    """In push and pull together."""
    cpu_s: float
    """Processor time of all threads meanwhile; far below `compute_s` times threads, something else held the cores."""
    hops_s: tuple[float, ...]
    """Compute of each window that gave frames, the first one left out: it is longer, and counted below."""
    open_s: float
    """Opening the session: the picture is encoded."""
    first_frame_s: float
    """Compute from the opened session to the first frame, when all sound is there."""
    first_sound_s: float
    """Sound that had to be pushed before the first frame came."""

    @property
    def num_hops(self) -> int:
        return len(self.hops_s) + 1


def speed(
    seconds: Annotated[float, typer.Option(min=1, max=600, help="Length of the speech.")] = 20.0,
    bundle: BundleOption = None,
    json_file: JsonOption = None,
    random_weights: RandomWeightsOption = False,
    threads: ThreadsOption = 0,
    dtype: DtypeOption = "auto",
    profile: ProfileOption = "mic",
) -> None:
    """Measure the engine's real-time factor on this machine: compute over media, below 1 is faster than real time.

    Prints each part's share and the physical floor, and the result as one line of JSON at the end. How a processor
    with fewer instructions would do:

        ONEDNN_MAX_CPU_ISA=AVX2 avacast bench speed
    """
    from rich.console import Console

    from avacast.engine.precision_choice import timings

    pipeline = open_model(bundle, random_weights=random_weights, threads=threads, dtype=dtype)
    figures = measure(pipeline, speech(seconds), profile)
    console = Console()
    console.print(pipeline.describe(), highlight=False)
    for timing in timings(pipeline.config) if dtype == "auto" else ():
        console.print(f"{timing}, in the self-test", highlight=False)
    console.print(speed_table(figures))
    result = Result.of("speed", figures)
    if json_file is not None:
        result.save(json_file)
    print(result.to_json())


def speech(seconds: float) -> NDArray[np.float32]:
    """Speech of the embedded voice, float32 `[N]` at 16 kHz, repeated to `seconds`."""
    import soxr

    from avacast.engine.voice import Voice

    spoken = Voice().speak(_TEXT)
    samples = soxr.resample(spoken.samples, spoken.sample_rate_hz, SAMPLE_RATE_HZ)
    return np.resize(samples, round(seconds * SAMPLE_RATE_HZ)).astype(np.float32)


def measure(pipeline: Pipeline, samples: NDArray[np.float32], profile: ProfileName = "mic") -> dict[str, Any]:
    """All figures of one model in one profile on float32 `[N]` at 16 kHz; times in ms, rates in GFLOP/s."""
    import torch

    from avacast.bench.measured_networks import TRANSFORMER, PartOperations, PartTimes, measured

    stream(pipeline, samples[: round(_WARM_UP_S * SAMPLE_RATE_HZ)], profile)
    times, operations = PartTimes(), PartOperations()
    with measured(pipeline, times) as timed:
        run = stream(timed, samples, profile)
    peak_rss_mb = _peak_rss_mb()
    ceiling = matrix_product_rate(pipeline.networks.dtype)
    with measured(pipeline, operations) as counted:
        num_counted = stream(counted, samples[: round(_WARM_UP_S * SAMPLE_RATE_HZ)], profile).num_hops
    gflop_per_hop = {part: count / num_counted / 1e9 for part, count in operations.operations.items()}
    hop_media_s = TEMPORAL_STRIDE * pipeline.config.profile(profile).window.hop / pipeline.config.fps
    floor_s = 1e9 * gflop_per_hop[TRANSFORMER] / ceiling
    return {
        "model": pipeline.describe(),
        "profile": profile,
        "onednn_max_cpu_isa": os.environ.get("ONEDNN_MAX_CPU_ISA"),
        "precision": str(pipeline.networks.precision),
        "threads": torch.get_num_threads(),
        "media_s": run.media_s,
        "real_time_factor": run.compute_s / run.media_s,
        "cpu_s_per_media_s": run.cpu_s / run.media_s,
        "parts": _parts(times.seconds, run),
        "hop_media_ms": 1000 * hop_media_s,
        "hop_p50_ms": 1000 * float(np.percentile(run.hops_s, 50)),
        "hop_p95_ms": 1000 * float(np.percentile(run.hops_s, 95)),
        "open_session_ms": 1000 * run.open_s,
        "first_frame_ms": 1000 * run.first_frame_s,
        "first_frame_sound_ms": 1000 * run.first_sound_s,
        "peak_rss_mb": peak_rss_mb,
        "matrix_product_gflops": ceiling / 1e9,
        "gflop_per_hop": gflop_per_hop,
        "transformer_floor_ms": 1000 * floor_s,
        "transformer_ceiling_share": floor_s * run.num_hops / times.seconds[TRANSFORMER],
    }


def stream(pipeline: Pipeline, samples: NDArray[np.float32], profile: ProfileName = "mic") -> Run:
    """Streams `samples` one video frame at a time, as a live session would, without waiting."""
    step = pipeline.config.samples_per_frame
    picture = np.full((pipeline.config.height, pipeline.config.width, 3), 128, np.uint8)
    started = time.perf_counter()
    session = pipeline.open_session(picture, profile=profile)
    opened, cpu_opened = time.perf_counter(), time.process_time()
    num_pushed = num_frames = 0
    first_s, first_num_pushed = 0.0, 0
    hops_s: list[float] = []
    while not session.finished:
        if num_pushed < len(samples):
            session.push(samples[num_pushed : num_pushed + step])
            num_pushed = min(num_pushed + step, len(samples))
            if num_pushed == len(samples):
                session.flush()
        before = time.perf_counter()
        num_new = len(session.pull())
        if num_new and not num_frames:
            first_s, first_num_pushed = time.perf_counter() - opened, num_pushed
        elif num_new:
            hops_s.append(time.perf_counter() - before)
        num_frames += num_new
    compute_s, cpu_s = time.perf_counter() - opened, time.process_time() - cpu_opened
    media_s = num_frames / pipeline.config.fps
    return Run(media_s, compute_s, cpu_s, tuple(hops_s), opened - started, first_s, first_num_pushed / SAMPLE_RATE_HZ)


def matrix_product_rate(dtype: torch.dtype) -> float:
    """Floating-point operations a second of one large square product in `dtype`: the best of several."""
    import torch

    a, b = (torch.randn(_CEILING_SIDE, _CEILING_SIDE).to(dtype) for _ in range(2))
    best_s = float("inf")
    for _ in range(_CEILING_TRIES):
        started = time.perf_counter()
        torch.mm(a, b)
        best_s = min(best_s, time.perf_counter() - started)
    return 2 * _CEILING_SIDE**3 / best_s


def speed_table(figures: dict[str, Any]) -> Table:
    """The figures for people, with targets where there are any."""
    from rich.table import Table

    table = Table("figure", "measured", "target")
    table.add_row("profile", figures["profile"], "")
    table.add_row("real-time factor", f"{figures['real_time_factor']:.3f}", "< 0.8, 0.5")
    table.add_row("  processor time", f"{figures['cpu_s_per_media_s']:.3f}, all {figures['threads']} threads", "")
    for part, cost in figures["parts"].items():
        table.add_row(f"  {part}", f"{cost['real_time_factor']:.3f}, {cost['ms_per_hop']:.1f} ms a hop", "")
    table.add_row(
        "hop p50, p95",
        f"{figures['hop_p50_ms']:.0f}, {figures['hop_p95_ms']:.0f} ms",
        f"< {figures['hop_media_ms']:.0f} ms",
    )
    table.add_row("open session", f"{figures['open_session_ms']:.0f} ms", "")
    table.add_row("first frame after it", f"{figures['first_frame_ms']:.0f} ms", "≤ 300 ms")
    table.add_row("  sound it needs", f"{figures['first_frame_sound_ms']:.0f} ms", "")
    table.add_row("peak memory", f"{figures['peak_rss_mb']:.0f} MB", "≤ 900 MB")
    table.add_row("matrix product", f"{figures['matrix_product_gflops']:.0f} GFLOP/s", "")
    floor = (
        f"{figures['transformer_floor_ms']:.1f} ms a hop; it reaches {100 * figures['transformer_ceiling_share']:.0f} %"
    )
    table.add_row("transformer at that rate", floor, "")
    return table


def _parts(seconds: Mapping[str, float], run: Run) -> dict[str, dict[str, float]]:
    """Cost of each part, and of everything between them."""
    parts = {**seconds, "rest": run.compute_s - sum(seconds.values())}
    return {
        part: {"real_time_factor": cost_s / run.media_s, "ms_per_hop": 1000 * cost_s / run.num_hops}
        for part, cost_s in parts.items()
    }


def _peak_rss_mb() -> float:
    """The most memory this process ever held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e6 / 1024)
