"""When somebody begins to speak: the level of a microphone against the noise around it.

Enough to notice an interruption, for which a tenth of a second is soon enough and a false one can be resumed; it does
not tell speech from a slammed door. Knows samples; knows nothing of who listens or what follows.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

ABOVE_NOISE_DB = 12.0
"""So far above the noise a slice counts as voice."""

LEAST_DB = -45.0
"""Below this level (of full scale) nothing is a voice, however quiet the room."""

VOICED, LOOKED_AT = 3, 4
"""An onset is `VOICED` slices of voice among the last `LOOKED_AT`: 120 ms, longer than a click or a knock."""

RISE_DB = 0.05
"""The noise may grow by so much a slice (1.25 dB a second): slower than speech, faster than an air conditioner."""

FALL = 0.1
"""Share of the way down to a quieter slice."""


class SpeechOnset:
    """Listens to one microphone, slice by slice of 40 ms."""

    def __init__(self) -> None:
        self._noise_db: float | None = None
        self._voiced: deque[bool] = deque(maxlen=LOOKED_AT)

    def push(self, samples: NDArray[np.float32]) -> bool:
        """Hears float32 [N]; True once, when somebody has begun. Another onset needs a pause before it."""
        level_db = 20 * np.log10(max(float(np.sqrt(np.mean(np.square(samples)))), 1e-5))
        noise_db = level_db if self._noise_db is None else self._noise_db
        was = sum(self._voiced) >= VOICED
        self._voiced.append(level_db > max(noise_db + ABOVE_NOISE_DB, LEAST_DB))
        self._noise_db = noise_db + (FALL * (level_db - noise_db) if level_db < noise_db else RISE_DB)
        return sum(self._voiced) >= VOICED and not was
