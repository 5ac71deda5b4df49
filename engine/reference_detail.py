"""What the auto-encoder loses of the reference picture, put back into the frames that show it.

An auto-encoder of few channels draws a picture softly and a little differently every time. But most of a frame is the
reference picture, moved: so each frame is compared with what the auto-encoder makes of that picture. Where the two are
the same but for a small motion, the picture itself is shown, moved alike; where they differ, as in a mouth that opens,
the frame stays as it was drawn. Nothing is learned here, and nothing is shown that neither the picture nor the frame
has.

Knows pictures on the host, and the motion of the frame before; knows no networks and no time.

Source of the optical flow: Kroeger et al., Fast Optical Flow using Dense Inverse Search (arXiv 1603.03590), in OpenCV.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""RGB, `[H, W, 3]`."""

_SAME_LEVELS = 18.0
"""Mean difference, of 256 levels, at which half of the picture and half of the frame is shown."""
_STEEPNESS = 4
_SMOOTH_PX, _NEAR_PX = 7, 5
"""Sides of the squares over which motion and difference are averaged, in pixels of half the resolution."""
_KEPT = 0.6
"""Of the motion before: a joint between two windows is no jump of the head."""


@dataclass(frozen=True, eq=False)
class Motion:
    """How the content of a frame lies off the reference picture. Never changed in place, so sharing is copying."""

    flow: NDArray[np.float32]
    """`[H/2, W/2, 2]`: from each place of the frame right and down to its place in the picture, in pixels of half the
    resolution."""


class ReferenceDetail:
    """The detail of one picture, for all frames of a stream that animates it."""

    def __init__(self, picture: Image, redrawn: Image) -> None:
        """`redrawn` is what the auto-encoder makes of `picture`; both uint8 `[H, W, 3]`, H and W even."""
        import cv2

        assert picture.shape == redrawn.shape, (picture.shape, redrawn.shape)
        # The cores that the networks have, which wait meanwhile; the others are other sessions'.
        cv2.setNumThreads(torch.get_num_threads())
        self._cv2: Any = cv2
        height, width = picture.shape[:2]
        # Between the pixels of twice the size a line is as good as a cubic between those of the picture, and faster.
        self._picture = picture
        self._redrawn = self._halved(redrawn)
        self._brightness = cv2.cvtColor(self._redrawn, cv2.COLOR_RGB2GRAY)
        self._search: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._search.setFinestScale(1)
        self._places, self._half_places = _places(height, width), _places(*self._redrawn.shape[:2])
        levels = np.arange(256, dtype=np.float32) / _SAME_LEVELS
        self._drawn_share = levels**_STEEPNESS / (1 + levels**_STEEPNESS)

    def restore(self, frames: NDArray[np.uint8], before: Motion | None) -> tuple[NDArray[np.uint8], Motion | None]:
        """The next frames of a stream, uint8 `[T, H, W, 3]`, with their detail; and what the frames after them need.

        `before` None begins a stream.
        """
        restored = np.empty_like(frames)
        for frame, out in zip(frames, restored, strict=True):
            half = self._halved(frame)
            before = self._motion(half, before)
            out[:] = self._restored(frame, self._drawn(half, before.flow), before.flow)
        return restored, before

    def _motion(self, half: Image, before: Motion | None) -> Motion:
        gray = self._cv2.cvtColor(half, self._cv2.COLOR_RGB2GRAY)
        flow = self._cv2.blur(self._search.calc(gray, self._brightness, None), (_SMOOTH_PX, _SMOOTH_PX))
        return Motion(flow if before is None else _KEPT * before.flow + (1 - _KEPT) * flow)

    def _restored(self, frame: Image, drawn: NDArray[np.float32], flow: NDArray[np.float32]) -> Image:
        cv2, (height, width) = self._cv2, frame.shape[:2]
        drawn = cv2.resize(drawn, (width, height))
        places = self._places + 2 * cv2.resize(flow, (width, height))
        moved = cv2.remap(self._picture, places, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        return cv2.blendLinear(frame, moved, drawn, 1 - drawn)

    def _drawn(self, half: Image, flow: NDArray[np.float32]) -> NDArray[np.float32]:
        """How much of each place is shown as it was drawn, 0 to 1, `[H/2, W/2]`."""
        cv2 = self._cv2
        expected = cv2.remap(
            self._redrawn, self._half_places + flow, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        difference = cv2.transform(cv2.absdiff(half, expected), np.full((1, 3), 1 / 3, np.float32))
        return cv2.LUT(cv2.blur(difference, (_NEAR_PX, _NEAR_PX)), self._drawn_share)

    def _halved(self, image: Image) -> Image:
        height, width = image.shape[:2]
        return self._cv2.resize(image, (width // 2, height // 2), interpolation=self._cv2.INTER_AREA)


def _places(height: int, width: int) -> NDArray[np.float32]:
    """Where each pixel is: its column and row, `[H, W, 2]`."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    return np.stack([columns, rows], axis=-1)
