"""A stream's video frames, and some of them on their way to the host.

Knows numbers and pixels; knows nothing of how they are made.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avacast.engine.side_stream import Fetched


@dataclass(frozen=True)
class Frame:
    """One video frame. It shows the samples from `pts * samples_per_frame` up to those of the next frame."""

    pts: int
    """Number of the frame since the session was opened; the time base is 1/fps."""
    image: NDArray[np.uint8]
    """RGB, `[H, W, 3]`."""


@dataclass(frozen=True)
class Showing:
    """Frames on their way to the host."""

    first: int
    num_frames: int
    images: Fetched | None

    @property
    def numbers(self) -> range:
        """Their `pts`."""
        return range(self.first, self.first + self.num_frames)

    def frames(self) -> list[Frame]:
        """Waits for them."""
        if self.images is None:
            return []
        return [Frame(pts, image) for pts, image in zip(self.numbers, self.images.wait().numpy(), strict=False)]
