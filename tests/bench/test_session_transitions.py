"""What is to be seen at transitions: the script, its frames from the worker's own loop, and the ratios."""

from __future__ import annotations

import numpy as np
import pytest

from avacast.bench.session_transitions import DELAY, PAUSE_SLICES, shown_frames, transition_ratios, write_script
from avacast.engine.pipeline import Pipeline


def voice(num_slices: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, num_slices * 640 + 17).astype(np.float32)


def test_the_script_says_all_between_pauses_and_cuts_every_second_sentence():
    script = write_script([voice(40), voice(60)], 640)
    assert script.happens == (
        (50, "begin to idle"),
        (100, "speak"),
        (140, "fall silent"),
        (190, "begin to idle"),
        (240, "speak"),
        (270, "interrupt"),
        (320, "begin to idle"),
    )
    assert len(script.slices) == len(script.speaking) == 3 * PAUSE_SLICES + 40 + 30
    assert np.array_equal(script.slices[100:140].ravel(), voice(40)[: 40 * 640])
    assert np.flatnonzero(script.speaking).tolist() == [*range(100, 140), *range(240, 270 - DELAY)]


def test_a_jump_is_told_where_it_is():
    """Speech moves by one level a frame, idle by none; where speech begins the picture jumps by four."""
    script = write_script([voice(40), voice(60)], 640)
    steps = script.speaking.astype(float)
    steps[100] = 4
    frames = np.broadcast_to(np.cumsum(steps)[:, None, None, None], (len(steps), 4, 4, 3)).astype(np.uint8)
    ratios = transition_ratios(frames, script)
    assert ratios["speak"] == pytest.approx([4, 1])
    assert ratios["fall silent"] == [0]
    assert ratios["begin to idle"] == [0, 0, 0]
    assert ratios["interrupt"] == [0]


def test_every_slice_is_shown(tiny_pipeline: Pipeline):
    """The worker's loop makes a frame for each, also across an interruption: none stays black."""
    script = write_script([voice(20), voice(60)], 640)
    picture = np.full((64, 64, 3), 128, np.uint8)
    num: list[int] = []
    frames = shown_frames(tiny_pipeline, picture, script, lambda: num.append(1))
    assert len(num) == len(frames) + DELAY
    assert frames.reshape(len(frames), -1).any(axis=1).all()
