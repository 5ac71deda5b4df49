"""What an avatar is shown and says while its exports are calibrated, or compared with the networks.

Knows a portrait of the gallery and sentences in the embedded voice; knows no network.
"""

from __future__ import annotations

import importlib.resources
from pathlib import Path

import numpy as np
import soxr

from avacast.engine.config import SAMPLE_RATE_HZ
from avacast.engine.sample_tail import Samples
from avacast.engine.voice import Voice

CALIBRATION = "Five quick zebras jump over the old wall, while we watch."
"""Said while scales are measured. Not the sentence on which they are judged."""

VERIFICATION = "Good morning! My name is Ada, and I show you whether every word looks the same as before."


def gallery_portrait() -> Path:
    """A picture that every model takes."""
    return Path(str(importlib.resources.files("avacast.gallery") / "ada.png"))


def spoken(sentence: str) -> Samples:
    """The sound of `sentence`, float32 `[N]` at 16 kHz."""
    speech = Voice().speak(sentence)
    return soxr.resample(speech.samples, speech.sample_rate_hz, SAMPLE_RATE_HZ).astype(np.float32)
