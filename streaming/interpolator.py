"""Sound read a little faster or slower than it was recorded: band-limited interpolation with a rate that may change.

At rate 1 and a whole position samples come out as they went in, to the last bit. Knows samples and positions; knows
nothing of clocks, buffers or who decides the rate (`rate_follower`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NUM_TAPS = 16
"""A sinc of 8 samples to either side, in a Hann window: flat to 0.5 dB up to 18 kHz at 48 kHz."""

NUM_PHASES = 1024
"""Positions between two samples. The nearest is taken, which at 8 kHz makes an error of -60 dB."""

LEFT = NUM_TAPS // 2 - 1
"""Samples before the position that are read; `NUM_TAPS - LEFT - 1` are read after it."""


def _kernel() -> NDArray[np.float32]:
    """[NUM_PHASES + 1, NUM_TAPS], each row of sum 1; the last is the first moved by one sample."""
    phases = np.arange(NUM_PHASES + 1)[:, None] / NUM_PHASES
    distance = np.arange(NUM_TAPS)[None, :] - LEFT - phases
    weights = np.sinc(distance) * np.cos(np.pi * distance / NUM_TAPS) ** 2
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


KERNEL = _kernel()


class Interpolator:
    """Where one sound is read: a place between two samples, and the samples before it."""

    def __init__(self) -> None:
        self._fraction = 0.0
        self._before = np.zeros(LEFT, np.float32)

    def num_available(self, num_samples: int, rate: float) -> int:
        """How many samples `read` can make of the next `num_samples`."""
        if self._is_plain(rate):
            return num_samples
        last = num_samples - (NUM_TAPS - LEFT) - self._fraction
        return max(0, int(last // rate) + 1)

    def read(self, samples: NDArray[np.float32], num: int, rate: float) -> tuple[NDArray[np.float32], int]:
        """The next float32 [num], `rate` samples apart, of what follows: float32 [N]; and how many of N are behind.

        What is not behind has to come again with the next call.
        """
        assert num <= self.num_available(len(samples), rate), f"{num} are more than {len(samples)} samples hold"
        if not num:
            return np.zeros(0, np.float32), 0
        if self._is_plain(rate):
            self._remember(samples[:num])
            return samples[:num].copy(), num
        places = self._fraction + rate * np.arange(num + 1)
        whole = places.astype(np.int64)
        phases = np.rint((places - whole) * NUM_PHASES).astype(np.int64)
        joined = np.concatenate([self._before, samples])
        taps = np.lib.stride_tricks.sliding_window_view(joined, NUM_TAPS)[whole[:-1]]
        num_behind = int(whole[-1])
        self._fraction = float(places[-1] - num_behind)
        self._remember(samples[:num_behind])
        return np.einsum("nt,nt->n", taps, KERNEL[phases[:-1]]), num_behind

    def reset(self) -> None:
        """Forgets what was read: what follows is another sound."""
        self._fraction = 0.0
        self._before = np.zeros(LEFT, np.float32)

    def _is_plain(self, rate: float) -> bool:
        return rate == 1.0 and self._fraction == 0.0

    def _remember(self, behind: NDArray[np.float32]) -> None:
        self._before = np.concatenate([self._before, behind])[-LEFT:]
