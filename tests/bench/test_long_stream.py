"""A long stream: how it is put together, and that drift, lips and memory are read where they should be."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from avacast.bench import profile_run
from avacast.bench.held_out_clip import HeldOutClip
from avacast.bench.long_stream import Turns, long_run, resident_mb
from avacast.engine.frame import Frame
from avacast.engine.pipeline import Pipeline


def test_a_stream_is_whole_turns_of_the_clips_that_fit_twice(clip: HeldOutClip):
    """4.8 s each: two fit into half of 20 s, none into half of 3 s, and one is said all the same."""
    clips = [replace(clip, name=str(number)) for number in range(4)]
    turns = Turns.lasting(clips, 20)
    assert ([one.name for one in turns.clips], turns.num_turns, turns.num_frames) == (["0", "1"], 2, 480)
    assert len(turns.sound()) == 480 * 640
    assert np.array_equal(turns.sound()[240 * 640 :], turns.sound()[: 240 * 640])
    short = Turns.lasting(clips, 3)
    assert ([one.name for one in short.clips], short.num_turns) == (["0"], 1)


def test_each_clip_lasts_whole_frames(clip: HeldOutClip):
    """What is missing is silence, so the next clip begins with its frame."""
    ragged = replace(clip, samples=clip.samples[: 640 * 10 - 100])
    turns = Turns.lasting([ragged], 0.8)
    assert (turns.num_turns, turns.num_frames, len(turns.sound())) == (2, 20, 20 * 640)
    assert np.array_equal(turns.sound()[640 * 10 :][:100], ragged.samples[:100])


def test_drift_and_lips_are_those_of_the_ends(
    clip: HeldOutClip,
    paint: Callable[[NDArray[np.float64]], NDArray[np.uint8]],
    opening: NDArray[np.float64],
    tiny_pipeline: Pipeline,
    monkeypatch: pytest.MonkeyPatch,
):
    """A stream of true frames whose last turn is brighter by ten levels and speaks backwards."""
    turns = Turns.lasting([clip], 14.4)
    assert turns.num_turns == 3
    last = np.minimum(paint(opening[::-1]).astype(np.int64) + 10, 255).astype(np.uint8)
    images = np.concatenate([paint(opening), paint(opening), last])
    frames = [Frame(pts, image) for pts, image in enumerate(images)]
    monkeypatch.setattr(profile_run, "frames_as_they_come", lambda *_, **__: iter(frames))
    seen: list[int] = []
    run = long_run(tiny_pipeline, "mic", turns, on_frame=lambda: seen.append(1))
    assert len(seen) == 360
    assert run.minutes == pytest.approx(360 / 1500)
    assert run.early_lip_correlation > 0.99
    assert abs(run.late_lip_correlation) < 0.5
    assert 1 < run.same_words_drift == run.colour_drift < 8
    assert run.next_turn_drift == 0


def test_a_stream_that_stays_as_it_is_does_not_drift(
    clip: HeldOutClip,
    paint: Callable[[NDArray[np.float64]], NDArray[np.uint8]],
    opening: NDArray[np.float64],
    tiny_pipeline: Pipeline,
    monkeypatch: pytest.MonkeyPatch,
):
    """The same words in the same frames: no difference at all. With one turn there is nothing to compare."""
    for num_turns in (1, 2):
        frames = [Frame(pts, image) for pts, image in enumerate(np.concatenate([paint(opening)] * num_turns))]
        monkeypatch.setattr(profile_run, "frames_as_they_come", lambda *_, frames=frames, **__: iter(frames))
        run = long_run(tiny_pipeline, "mic", Turns((clip,), num_turns))
        assert run.early_lip_correlation == run.late_lip_correlation
        assert math.isnan(run.same_words_drift) if num_turns == 1 else run.same_words_drift == 0


def test_a_session_is_streamed_to_its_end(tiny_pipeline: Pipeline, clip: HeldOutClip):
    """The real thing, once, for a second."""
    short = replace(clip, samples=clip.samples[: 15 * 640])
    run = long_run(tiny_pipeline, "mic", Turns((short,), 2))
    assert 0 <= run.colour_drift < 100
    assert run.late_memory_mb >= 0.9 * run.early_memory_mb > 50


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_what_the_process_holds():
    before = resident_mb()
    held = np.ones(100_000_000, np.uint8)
    assert 80 < resident_mb() - before < 130
    assert len(held) > before > 50
