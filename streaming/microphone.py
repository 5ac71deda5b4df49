"""A viewer's microphone as a continuous stream: gaps become silence, a burst does not grow the delay for ever.

Knows samples and their timestamps at 48 kHz; knows nothing of WebRTC or of who listens.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PREFILL_SAMPLES = 2_880
"""60 ms gathered before the first sample is handed out, so that ordinary network jitter is not heard."""

MAX_SAMPLES = 12_000
"""250 ms. Policy when full: the oldest samples are dropped and counted, because delay is worse than a click."""

MAX_GAP_SAMPLES = 24_000
"""A jump of timestamps beyond half a second is a new start, not a gap to fill."""


class Microphone:
    """Bounded buffer between packets as they arrive and slices as they are due."""

    def __init__(self) -> None:
        self.num_dropped = 0
        self._samples = np.zeros(0, np.float32)
        self._next_pts: int | None = None
        self._padded = 0
        self._primed = False

    @property
    def buffered_samples(self) -> int:
        return len(self._samples)

    def push(self, samples: NDArray[np.float32], pts: int) -> None:
        """Enters float32 [N] whose first sample has timestamp `pts`; what comes a second time is left out."""
        gap = 0 if self._next_pts is None else pts - self._next_pts
        if -MAX_GAP_SAMPLES < gap < 0:
            return
        self._next_pts = pts + len(samples)
        # Silence that was already handed out in place of the lost samples is not inserted again.
        missing = max(0, gap - self._padded) if gap < MAX_GAP_SAMPLES else 0
        self._padded = 0
        joined = np.concatenate([self._samples, np.zeros(missing, np.float32), samples])
        self.num_dropped += max(0, len(joined) - MAX_SAMPLES)
        self._samples = joined[-MAX_SAMPLES:]

    def pull(self, num_samples: int) -> NDArray[np.float32] | None:
        """The next float32 [num_samples], ended with silence if too few are there; None while nobody speaks in."""
        if not self._primed and len(self._samples) < PREFILL_SAMPLES:
            return None
        taken, self._samples = self._samples[:num_samples], self._samples[num_samples:]
        self._primed = len(taken) == num_samples
        missing = num_samples - len(taken)
        self._padded += missing
        return np.concatenate([taken, np.zeros(missing, np.float32)])
