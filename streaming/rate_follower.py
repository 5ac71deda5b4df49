"""How fast to read a buffer that another clock fills, so that what waits in it neither grows nor runs dry.

Two clocks of "48 kHz" differ by up to some 200 parts in a million: 0.7 s in an hour. Judged by the least that was left
over the last seconds, which is what jitter has not used up. Knows counts of samples; knows nothing of sound or time.
"""

from __future__ import annotations

from collections import deque

NUM_READS = 50
"""Reads over which the least is taken: 2 s of slices. Shorter, a late packet would look like a slow clock."""

TARGET_SAMPLES = 1_440
"""30 ms should be left at the worst moment. Packets are 20 ms long: when the sender's deadlines slip past ours, one
less is there from one read to the next, and the rest covers the time until the rate has made up for it."""

CALM_SAMPLES = 240
"""Within 5 ms of the target nothing is done, and samples go through unchanged."""

GAIN = 1e-3 / 480
"""0.1 % of rate for 10 ms too much, so half of an error is gone after 7 s. A drift of 200 ppm settles 2 ms outside of
the calm zone."""

MAX_CORRECTION = 5e-3
"""Half a per cent, a twelfth of a semitone: 200 ms too much are gone after 40 s, and nobody hears it."""


class RateFollower:
    """`rate`: samples to read for each that is handed out, 1 where nothing has to be corrected."""

    def __init__(self) -> None:
        self.rate = 1.0
        self._left: deque[int] = deque(maxlen=NUM_READS)

    def note_left(self, num_samples: int) -> None:
        """Notes that a read left `num_samples` waiting."""
        self._left.append(num_samples)
        if len(self._left) < NUM_READS:
            return
        error = min(self._left) - TARGET_SAMPLES
        excess = max(0, abs(error) - CALM_SAMPLES)
        correction = min(MAX_CORRECTION, GAIN * excess)
        self.rate = 1.0 + (correction if error > 0 else -correction)

    def reset(self) -> None:
        """Begins anew, as when the buffer has run dry."""
        self._left.clear()
        self.rate = 1.0
