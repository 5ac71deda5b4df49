"""Reading the opening of the eyes off pixels, judged on drawn faces whose lids are known."""

from __future__ import annotations

import numpy as np
import pytest

from avacast.engine.eyes import eye_opening
from avacast.training.face_renderer import Performance, face_boxes, render, sample_identity


def test_known_area() -> None:
    """An eye white over a quarter of the box reads 0.25, and the palest skin around it nothing."""
    frames = np.full((2, 80, 80, 3), (251, 220, 200), np.uint8)
    frames[0, 30:40, 20:60] = (248, 244, 238)
    reading = eye_opening(frames, (20, 20, 60, 60))
    assert reading.dtype == np.float32
    assert reading == pytest.approx([0.25, 0.0], abs=0.005)


@pytest.mark.parametrize("seed", range(700, 710))
def test_a_blink_is_told_from_a_glance_on_anybody(seed: int) -> None:
    """Shut reads below half way from open to shut whatever the head does, open above it wherever the eyes look."""
    identity = sample_identity(np.random.default_rng(seed))
    performance = Performance.rest(10)
    performance.blink[:2] = 1
    performance.gaze_x[3:] = (-0.75, 0.75, 0, 0, 0.5, -0.5, 0)
    performance.gaze_y[3:] = (0, 0, -0.4, 0.4, 0.4, -0.4, 0)
    performance.yaw[1:] = (0.1, 0, -0.1, 0.1, 0, 0, -0.1, 0.1, 0)
    performance.pitch[1:] = (0.06, 0, 0, 0, -0.06, 0.06, 0, 0.06, -0.06)
    performance.brow[:] = np.linspace(-0.8, 0.8, 10)
    reading = eye_opening(render(identity, performance).frames.numpy(), face_boxes(identity).eyes)
    limit = (reading[0] + reading[2]) / 2
    assert (reading < limit).tolist() == [True] * 2 + [False] * 8


def test_a_box_outside_in_is_refused() -> None:
    """The box is top, left, bottom, right."""
    with pytest.raises(AssertionError):
        eye_opening(np.zeros((1, 64, 64, 3), np.uint8), (40, 10, 20, 30))
