"""Reading a whole face: each track follows what was performed, and each box holds what it is named after."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from avacast.engine.face_reading import read_face
from avacast.training.clips import VALIDATION_SEED, Clip, make_clip
from avacast.training.face_renderer import face_boxes
from avacast.training.performance import HeadMotion, Performance


def nose(clip: Clip, performance: Performance) -> NDArray[np.float32]:
    """Where the middle of the nose's box lies in each frame, from left, in points."""
    top, _, bottom, _ = face_boxes(clip.identity).nose
    head = HeadMotion(performance.tracks("cpu"), clip.identity.mouth_y, clip.identity.face_length)
    return head.centre(0, (top + bottom) / 2)[0].numpy()


@pytest.mark.parametrize("seed", range(VALIDATION_SEED + 500, VALIDATION_SEED + 505))
def test_the_reading_follows_the_performance(seed: int) -> None:
    """Sideways to a third of a pixel, blinks by their lids, the width of the open mouth by that of its lips."""
    clip = make_clip(seed, 120, 25.0).frames(40, 80)
    drawn, portrait = clip.render(256), clip.render_portrait(256).numpy()
    reading = read_face(drawn.frames.numpy(), portrait, face_boxes(clip.identity))
    true = nose(clip, clip.performance) - nose(clip, clip.portrait)
    assert np.abs(reading.sideways - true).max() < 0.34
    assert np.corrcoef(reading.sideways, true)[0, 1] > 0.95
    opened = reading.opening > 0.2 * reading.opening.max()
    assert np.corrcoef(reading.width[opened], drawn.width.numpy()[opened])[0, 1] > 0.9
    assert len(reading.frame_difference) == 39
