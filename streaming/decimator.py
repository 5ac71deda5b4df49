"""What is heard, made fit for the engine: 48 kHz to 16 kHz, sample-exact and in pieces of any multiple of three.

A linear-phase low-pass with one millisecond of delay. A general resampler would do, but its output comes in lumps
with a delay of its own; here every slice that is heard gives exactly the samples of its frame.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FACTOR = 3
NUM_TAPS = 97
CUTOFF = 7_300 / 48_000
"""Cycles per sample: passes speech up to 7 kHz, is 60 dB down where folding would be heard."""


class Decimator:
    """Streaming 3:1 decimation; the state is the last `NUM_TAPS - 1` samples."""

    def __init__(self) -> None:
        time = np.arange(NUM_TAPS) - (NUM_TAPS - 1) / 2
        taps = np.sinc(2 * CUTOFF * time) * np.blackman(NUM_TAPS)
        self._taps = (taps / taps.sum()).astype(np.float32)
        self._tail = np.zeros(NUM_TAPS - 1, np.float32)

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Takes float32 [3 n] at 48 kHz, returns float32 [n] at 16 kHz."""
        assert len(samples) % FACTOR == 0, f"{len(samples)} samples are not a multiple of {FACTOR}"
        if not len(samples):
            return samples
        joined = np.concatenate([self._tail, samples])
        self._tail = joined[len(joined) - (NUM_TAPS - 1) :]
        windows = np.lib.stride_tricks.sliding_window_view(joined, NUM_TAPS)[::FACTOR]
        # Rows are multiplied one by one on purpose: a matrix product may sum in an order that depends on their number.
        return np.einsum("nt,t->n", windows, self._taps).astype(np.float32)
