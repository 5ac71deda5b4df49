"""A viewer's microphone as a continuous stream: gaps become silence, and the delay stays what jitter needs.

The viewer's clock and ours differ, so the stream is read a little faster or slower than it comes (`rate_follower`):
the delay neither grows nor runs out over hours, and no sound is dropped for it. A burst after a stall of the network is
worked off the same way, up to the bound of the buffer.

Knows samples and their timestamps at 48 kHz; knows nothing of WebRTC or of who listens.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avacast.streaming.interpolator import Interpolator
from avacast.streaming.rate_follower import RateFollower

PREFILL_SAMPLES = 3_840
"""80 ms gathered before the first sample is handed out, so that ordinary network jitter is not heard; a slice of 40 ms
leaves what `rate_follower` aims at, and a little more."""

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
        self._follower = RateFollower()
        self._interpolator = Interpolator()

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
        if not self._primed:
            if len(self._samples) < PREFILL_SAMPLES:
                return None
            self._follower.reset()
            self._interpolator.reset()
        rate = self._follower.rate
        num = min(num_samples, self._interpolator.num_available(len(self._samples), rate))
        taken, num_behind = self._interpolator.read(self._samples, num, rate)
        self._samples = self._samples[num_behind:]
        self._follower.note_left(len(self._samples))
        self._primed = num == num_samples
        self._padded += num_samples - num
        return np.concatenate([taken, np.zeros(num_samples - num, np.float32)])
