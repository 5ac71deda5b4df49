"""What an avatar is shown and says while its exports are calibrated and verified."""

from __future__ import annotations

import numpy as np

from avacast.engine.config import SAMPLE_RATE_HZ
from avacast.engine.portrait import load_portrait
from avacast.export.rehearsal import CALIBRATION, VERIFICATION, gallery_portrait, spoken


def test_the_sentence_is_speech_at_the_engines_rate():
    """A few seconds, neither silent nor clipped."""
    sound = spoken(CALIBRATION)
    assert sound.dtype == np.float32
    assert 1 < len(sound) / SAMPLE_RATE_HZ < 8
    assert 0.05 < np.abs(sound).max() <= 1


def test_scales_are_not_judged_on_what_they_were_taken_from():
    """Other words, and so other sound."""
    assert not set(CALIBRATION.lower().split()) & (set(VERIFICATION.lower().split()) - {"the", "and", "i"})


def test_the_portrait_is_one_that_a_model_takes():
    """A colour picture of the gallery."""
    picture = load_portrait(gallery_portrait())
    assert (picture.dtype, picture.ndim, picture.shape[2]) == (np.uint8, 3, 3)
