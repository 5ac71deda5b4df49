"""The whole pipeline as graphs: frames a second, streams at a time, the first frame, an interruption, and memory.

`live_session` measures the engine's own session beside it.
"""

from __future__ import annotations

import time
from typing import Any

import torch

from avacast.bench.decoding import tiny_vae
from avacast.bench.device_timer import Deadline, median_ms, seconds_of, synchronize
from avacast.bench.window_stream import WindowStream
from avacast.bench.workbench import Workbench
from avacast.engine.networks import VAE


def whole_pipeline(bench: Workbench, figures: dict[str, Any], deadline: Deadline) -> None:
    """Fills in `graphed_wan`, `graphed_tiny` and `batches`, in this order, as far as the time goes."""
    window = bench.config.window
    figures |= {"window": window.window, "overlap": window.overlap, "num_steps": bench.config.sampler.num_steps}
    tiny = tiny_vae(bench)
    with torch.inference_mode(), bench.attending():
        for name, vae in (("graphed_wan", bench.networks.vae), ("graphed_tiny", tiny)):
            if not deadline.passed:
                figures[name] = {}
                with bench.sparing(f"stream, {name}"):
                    measure_graphed(bench, vae, figures[name])
        figures["batches"] = []
        for batch in bench.workload.batches[1:]:
            if not deadline.passed:
                with bench.sparing(f"stream, batch {batch}"):
                    figures["batches"].append({"streams": batch, **throughput(bench, WindowStream(bench, tiny, batch))})
    figures["cut_short"] = deadline.passed


def measure_graphed(bench: Workbench, vae: VAE, figures: dict[str, Any]) -> None:
    """Fills in all figures of one stream with this decoder; times in ms, memory in GB (10^9 bytes).

    A further session shares weights and graphs, and its state is copied in when its turn comes.
    """
    if bench.on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(bench.device)
    stream = WindowStream(bench, vae)
    figures |= throughput(bench, stream)
    if bench.on_gpu:
        figures["peak_gb"] = torch.cuda.max_memory_reserved(bench.device) / 1e9
        # What replays work in belongs to the graphs and stays reserved; what trying algorithms out took goes.
        torch.cuda.empty_cache()
        figures["first_session_gb"] = torch.cuda.memory_reserved(bench.device) / 1e9
    before_gb = bench.allocated_gb
    snapshot = stream.snapshot()
    if bench.on_gpu:
        figures["further_session_gb"] = bench.allocated_gb - before_gb
    figures["state_mb"] = stream.state_mb
    figures["state_in_ms"] = 1000 * seconds_of(lambda: stream.restore(snapshot), bench.device)
    figures["first_frame_ms"] = median_ms(lambda: stream.first_frame(snapshot))
    figures["interruption_to_silent_window_ms"] = median_ms(lambda: stream.next_frames(snapshot))
    # At worst an interruption comes just after a window was begun, which cannot be taken back.
    figures["interruption_at_worst_ms"] = figures["interruption_to_silent_window_ms"] + figures["window_ms"]


def throughput(bench: Workbench, stream: WindowStream) -> dict[str, Any]:
    """Frames a second of `stream` without a pause, and streams that this is enough for."""
    stream.run(1)
    synchronize(bench.device)
    started = time.perf_counter()
    stream.run(bench.workload.num_windows)
    synchronize(bench.device)
    window_s = (time.perf_counter() - started) / bench.workload.num_windows
    frames_per_s = stream.num_frames / window_s
    return {
        "frames_per_s": frames_per_s,
        "streams_at_25_fps": frames_per_s / bench.config.fps,
        "window_ms": 1000 * window_s,
    }
