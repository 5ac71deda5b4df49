"""Which profile this machine keeps up with: the one with the least delay, if its windows are made in time.

Knows the engine's door and a clock; knows nothing of sessions that are watched.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import numpy as np

from avacast.engine.config import SAMPLE_RATE_HZ
from avacast.engine.profile import LiveProfile

if TYPE_CHECKING:
    from avacast.engine.pipeline import Pipeline

log = logging.getLogger(__name__)

MAX_FACTOR = 0.95
"""Seconds of computing for a second of video beyond which small windows are not kept up. Little is left to spare, but
listening is silence, and silence costs fewer steps."""

TRIED_S = 1.2


def chosen_profile(pipeline: Pipeline) -> LiveProfile:
    """`mic` where the engine keeps up with it, else `tts`, whose larger windows cost less; the log says why."""
    factor = real_time_factor(pipeline, "mic")
    chosen: LiveProfile = "mic" if factor <= MAX_FACTOR else "tts"
    reason = "kept up" if chosen == "mic" else f"above {MAX_FACTOR:g}, so larger windows"
    log.info("profile %s: small windows need %.2f of real time, %s", chosen, factor, reason)
    return chosen


def real_time_factor(pipeline: Pipeline, profile: LiveProfile) -> float:
    """Seconds of computing for a second of video, of a second or so of noise after the first window."""
    config = pipeline.config
    session = pipeline.open_session(np.full((config.height, config.width, 3), 128, np.uint8), profile=profile)
    noise = np.random.default_rng(0).normal(0, 0.1, round(TRIED_S * SAMPLE_RATE_HZ)).astype(np.float32)
    session.push(noise)
    while not session.pull():  # the first window, and all that is prepared on first use
        session.push(noise)
    session.push(noise)
    started, num_frames = time.perf_counter(), 0
    while frames := session.pull():
        num_frames += len(frames)
    compute_s = time.perf_counter() - started
    session.close()
    return compute_s * config.fps / num_frames
