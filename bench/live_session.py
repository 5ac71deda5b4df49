"""The engine's session on this device, as it is served: `Pipeline.open_session`, `push` and `pull`.

Knows the engine's door; `whole_pipeline` measures the same work as graphs.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from avacast.bench.device_timer import Deadline, median_ms
from avacast.bench.workbench import Workbench
from avacast.engine.captured_session import captured_decoder, captured_step
from avacast.engine.config import TEMPORAL_STRIDE
from avacast.engine.networks import Networks
from avacast.engine.plan import PlannedDiT, Plans
from avacast.engine.static_form import StaticShape


def live_session(bench: Workbench, figures: dict[str, Any], deadline: Deadline) -> None:
    """Fills in `eager` and `graphed`: `Pipeline.open_session`, `push` and `pull`, the engine as it is served.

    On a GPU it is served graphed: compiled, then captured pass by pass, since a session may look ahead.
    """
    with bench.attending():
        figures["eager"] = measure_session(bench, bench.networks)
        if not deadline.passed:
            figures["graphed"] = measure_session(bench, captured_networks(bench))


def captured_networks(bench: Workbench) -> Networks:
    """The networks with what `Pipeline.load_fastest` captures for a session of the profile `mic`."""
    config, networks = bench.config, bench.networks
    shape = StaticShape(config, config.profile("mic"), 1, bench.dtype)
    with torch.inference_mode():
        step, decoder = captured_step(networks.dit, shape), captured_decoder(networks.vae, shape)
    return replace(networks, plans=Plans(PlannedDiT(networks.dit, [step]), decoder))


def measure_session(bench: Workbench, networks: Networks) -> dict[str, Any]:
    """Times and rates of one session with noise for a voice."""
    from avacast.engine.pipeline import Pipeline

    config = bench.config
    pipeline = Pipeline(config, networks)
    picture = np.random.default_rng(0).integers(0, 256, (config.height, config.width, 3), np.uint8)
    started = time.perf_counter()
    session = pipeline.open_session(picture)
    open_s = time.perf_counter() - started
    fresh = session.snapshot()
    num_latents = config.window.window + config.window.hop * bench.workload.num_windows
    num_samples = TEMPORAL_STRIDE * num_latents * config.samples_per_frame
    sound = np.random.default_rng(1).normal(0, 0.1, num_samples).astype(np.float32)

    def first_frame() -> None:
        session.restore(fresh)
        session.push(sound)
        assert session.pull(), "there is sound for a window"

    first_frame()
    first_s = median_ms(first_frame) / 1000
    started, num_frames = time.perf_counter(), 0
    while frames := session.pull():
        num_frames += len(frames)
    frames_per_s = num_frames / (time.perf_counter() - started)
    silence = np.zeros(num_samples, np.float32)
    speaking = session.snapshot()

    def silent_window() -> None:
        session.restore(speaking)
        session.push(silence)
        assert session.pull(), "there is sound for a window"

    return {
        "open_session_ms": 1000 * open_s,
        "first_frame_ms": 1000 * first_s,
        "interruption_to_silent_window_ms": median_ms(silent_window),
        "frames_per_s": frames_per_s,
        "streams_at_25_fps": frames_per_s / config.fps,
    }
