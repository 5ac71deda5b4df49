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
        self.pieces = [np.concatenate([np.zeros(0, np.float32), *self.pieces])]
        piece = self.pieces[0][start - self.start : stop - self.start]
        return np.pad(piece, (0, stop - start - len(piece)))

    def forget(self, before: int) -> None:
        """Drops the samples before absolute position `before`."""
        before = min(before, self.num_samples)
        if before > self.start:
            self.pieces = [self.read(before, self.num_samples)]
            self.start = before

    def copy(self) -> SampleTail:
        """An independent copy; the pieces themselves are shared."""
        return replace(self, pieces=list(self.pieces))
