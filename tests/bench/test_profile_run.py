"""Streaming for a benchmark: what is counted, what is compared, and that sound comes as it is meant to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from avacast.bench.held_out_clip import HeldOutClip
from avacast.bench.profile_run import (
    ClipRun,
    formula_latency_ms,
    frames_as_they_come,
    lip_correlation,
    measured_latency_ms,
    seam_ratios,
    stream_clips,
    told_clips,
)
from avacast.engine.errors import BadSetting
from avacast.engine.pipeline import Pipeline
from avacast.engine.profile import Profile, WindowConfig


@pytest.fixture(scope="module")
def short(clip: HeldOutClip) -> HeldOutClip:
    """A second and a bit of it."""
    return replace(clip, samples=clip.samples[: 33 * 640])


def test_sound_comes_frame_by_frame_or_ahead(tiny_pipeline: Pipeline, short: HeldOutClip):
    """As spoken, `tts` never finds later sound to look at; well ahead it always does: the frames are others."""
    frames = {
        ahead_s: [
            frame.image
            for frame in frames_as_they_come(
                tiny_pipeline.open_session(short.portrait, profile="tts"), short.samples, 640, ahead_s=ahead_s
            )
        ]
        for ahead_s in (0.0, 10.0)
    }
    assert [len(images) for images in frames.values()] == [33, 33]
    assert not np.array_equal(frames[0.0], frames[10.0])


@pytest.mark.parametrize(("window", "overlap", "num_windows"), [(6, 4, 3), (4, 2, 4), (3, 0, 3)])
def test_passes_are_steps_times_windows(
    tiny_pipeline: Pipeline, short: HeldOutClip, window: int, overlap: int, num_windows: int
):
    """33 frames are 9 latent frames, two steps each; of two clips twice as many. The clip's seed moves the head."""
    profile = Profile(WindowConfig(window=window, overlap=overlap, settle=0))
    calls: list[int] = []
    run = stream_clips(tiny_pipeline, profile, [short, replace(short, seed=9)], on_frame=lambda: calls.append(1))
    assert run.num_passes == 2 * 2 * num_windows
    assert [frames.shape for frames in run.frames] == [(33, 64, 64, 3)] * 2
    assert len(calls) == 66
    assert not np.array_equal(*run.frames)
    assert run.compute_s > 0


def test_the_measured_latency_is_the_formula_to_5_ms(tiny_pipeline: Pipeline, clip: HeldOutClip):
    for name in ("mic", "tts"):
        profile = tiny_pipeline.config.profile(name)
        formula = formula_latency_ms(tiny_pipeline, profile)
        assert formula <= measured_latency_ms(tiny_pipeline, profile, clip, 3.0) < formula + 5


def test_true_lips_follow_and_a_jump_where_windows_begin_is_a_seam(
    clip: HeldOutClip, paint: Callable[[NDArray[np.float64]], NDArray[np.uint8]], opening: NDArray[np.float64]
):
    """Windows of 6 every 2 with nothing held back: the first adds 6 latent frames (21 video frames), each later 2."""
    profile = Profile(WindowConfig(window=6, overlap=4, settle=0))
    frames = paint(opening)
    assert lip_correlation(ClipRun((frames,), 0, 0.0), [clip]) == pytest.approx(1.0)
    levels = np.zeros(120)
    levels[21::8] = 1
    stepped = np.repeat((np.cumsum(levels) * 3)[:, None, None, None], 64, 1).repeat(64, 2).repeat(3, 3)
    flicker = np.arange(120)[:, None, None, None] % 2
    window, latent = seam_ratios(ClipRun(((stepped + flicker).astype(np.uint8),), 0, 0.0), profile)
    assert window > latent > 1.2
    assert seam_ratios(ClipRun(((stepped * 0 + flicker).astype(np.uint8),), 0, 0.0), profile) == (1.0, 1.0)


def test_clips_without_truth_or_of_another_size_are_refused(tiny_pipeline: Pipeline, clip: HeldOutClip):
    assert told_clips(tiny_pipeline, [clip, replace(clip, truth=None)]) == [clip]
    for useless in ([replace(clip, truth=None)], [replace(clip, portrait=np.zeros((256, 256, 3), np.uint8))]):
        with pytest.raises(BadSetting, match="no clips with truth are 64x64"):
            told_clips(tiny_pipeline, useless)
