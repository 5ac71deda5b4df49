"""The engine's session on this device, as it is served: interruptible, through `open_session`, `push` and `pull`.

Knows the engine's door; `whole_pipeline` measures the same work as graphs.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from avacast.bench.device_timer import Deadline, median_ms
from avacast.bench.workbench import Workbench
from avacast.engine.captured_session import CapturedLoop, captured_decoder, captured_loop, captured_step
from avacast.engine.config import TEMPORAL_STRIDE
from avacast.engine.networks import Networks
from avacast.engine.plan import PlannedDiT, Plans
from avacast.engine.portrait import Picture
from avacast.engine.session import Session, SessionState
from avacast.engine.static_form import StaticShape


def live_session(bench: Workbench, figures: dict[str, Any], deadline: Deadline) -> None:
    """Fills in `graphed` and `eager`: `Pipeline.open_session`, `push` and `pull`, the engine as it is served.

    On a GPU it is served graphed: compiled, then captured, a window's steps as one graph and the decoder as another.
    """
    with bench.attending():
        for name, make in (("graphed", lambda: captured_networks(bench)), ("eager", lambda: bench.networks)):
            if not deadline.passed:
                figures[name] = {}
                with bench.sparing(f"session, {name}"):
                    measure_session(bench, make(), figures[name])
    figures["cut_short"] = deadline.passed


def captured_networks(bench: Workbench) -> Networks:
    """The networks with what `Pipeline.load_fastest` captures for a session of the profile `mic`."""
    config, networks = bench.config, bench.networks
    shape = StaticShape(config, config.profile("mic"), 1, bench.dtype)
    num_steps = (shape.profile.sampler or config.sampler).num_steps
    with torch.inference_mode():
        step = captured_step(networks.dit, shape)
        loop = captured_loop(networks.dit, shape, num_steps, pool=step.pool)
        decoder = captured_decoder(networks.vae, shape)
    planned = PlannedDiT(networks.dit, [step])
    return replace(networks, plans=Plans(planned, decoder, loop=CapturedLoop(networks.dit, [loop], planned.still)))


def measure_session(bench: Workbench, networks: Networks, figures: dict[str, Any]) -> None:
    """Fills in times and rates of one session with noise for a voice, of two at a time, and what a further one takes.

    That is measured once all their sound was shown: on the device what a session keeps between two windows, and on the
    host the points to which it can go back, which are as many here as there ever are: viewers tell what they have seen.
    """
    from avacast.engine.pipeline import Pipeline

    pipeline = Pipeline(bench.config, networks)
    started = time.perf_counter()
    session = pipeline.open_session(_picture(bench), interruptible=True)
    figures["open_session_ms"] = 1000 * (time.perf_counter() - started)
    fresh, sound = session.snapshot(), _sound(bench, 1)

    def window(state: SessionState, samples: NDArray[np.float32]) -> None:
        session.restore(state)
        session.push(samples)
        assert session.pull(), "there is sound for a window"

    window(fresh, sound)
    figures["first_frame_ms"] = median_ms(lambda: window(fresh, sound))
    figures |= _rates(bench, [session])
    last = session.snapshot().num_frames_shown - 1

    def interruption() -> None:
        # The window that was shown last is taken back; what silence makes instead is taken back the next time.
        session.interrupt(last)
        session.push(0 * sound)
        assert session.pull(), "there is silence for a window"

    figures["interruption_to_silent_window_ms"] = median_ms(interruption)
    before_gb = bench.allocated_gb
    sessions = [pipeline.open_session(_picture(bench), interruptible=True) for _ in range(2)]
    for one in sessions:
        one.push(sound)
        one.pull()
    figures["two_sessions_frames_per_s"] = _rates(bench, sessions)["frames_per_s"]
    if bench.on_gpu:
        figures["further_session_gb"] = (bench.allocated_gb - before_gb) / len(sessions)
    figures["points_host_gb"] = max(one.num_bytes_of_points for one in sessions) / 1e9


def _rates(bench: Workbench, sessions: list[Session]) -> dict[str, float]:
    """Frames a second of sessions whose sound is here; one begins its window while another's frames are fetched."""
    started, num_frames = time.perf_counter(), 0
    while any(shown := [showing.frames() for showing in [session.begin() for session in sessions]]):
        num_frames += sum(map(len, shown))
    frames_per_s = num_frames / (time.perf_counter() - started)
    return {"frames_per_s": frames_per_s, "streams_at_25_fps": frames_per_s / bench.config.fps}


def _picture(bench: Workbench) -> Picture:
    return np.random.default_rng(0).integers(0, 256, (bench.config.height, bench.config.width, 3), np.uint8)


def _sound(bench: Workbench, seed: int) -> NDArray[np.float32]:
    """Noise for so many windows of the profile `mic` as are measured of a session."""
    window = bench.config.profile("mic").window
    num_latents = window.window + window.hop * bench.workload.num_session_windows
    num_samples = TEMPORAL_STRIDE * num_latents * bench.config.samples_per_frame
    return np.random.default_rng(seed).normal(0, 0.1, num_samples).astype(np.float32)
