"""The recent past of a stream of sound, addressed by absolute position.

This module knows samples and positions; it does not know what they are for or at which rate they come.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
"""Mono sound, `[N]`."""


@dataclass
class SampleTail:
    """The samples of a stream by absolute position, from `start` on; what lies before is forgotten."""

    pieces: list[Samples] = field(default_factory=list[Samples])
    """As they came, none of them ever written to."""
    start: int = 0
    num_samples: int = 0
    """Samples pushed so far, forgotten ones included."""

    def push(self, samples: Samples) -> None:
        self.pieces.append(np.array(samples, dtype=np.float32))
        self.num_samples += len(samples)

    def read(self, start: int, stop: int) -> Samples:
        """Samples [start, stop); zeros where the stream has none."""
        assert start >= self.start, f"samples before {self.start} are forgotten, {start} was asked for"
        piece = self._joined()[start - self.start : stop - self.start]
        return np.pad(piece, (0, stop - start - len(piece)))

    def forget(self, before: int) -> None:
        """Drops the samples before absolute position `before`."""
        before = min(before, self.num_samples)
        if before > self.start:
            samples = self._joined()
            owner, rest = samples if samples.base is None else samples.base, samples[before - self.start :]
            # A long sound pushed at once is not copied for every few samples forgotten, nor kept to its end.
            self.pieces = [rest.copy() if 2 * rest.nbytes < owner.nbytes else rest]
            self.start = before

    def truncate(self, num_samples: int) -> None:
        """Takes back what was pushed beyond `num_samples`, which must not be forgotten yet."""
        assert self.start <= num_samples <= self.num_samples, (self.start, num_samples, self.num_samples)
        self.pieces = [self._joined()[: num_samples - self.start]]
        self.num_samples = num_samples

    def copy(self) -> SampleTail:
        """An independent copy; the pieces themselves are shared."""
        return replace(self, pieces=list(self.pieces))

    def _joined(self) -> Samples:
        """All samples kept, as one piece."""
        if len(self.pieces) != 1:
            self.pieces = [np.concatenate([np.zeros(0, np.float32), *self.pieces])]
        return self.pieces[0]
