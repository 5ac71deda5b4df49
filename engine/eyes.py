"""What a frame shows of the eyes: how far they are open, read off the pixels of a drawn face.

This module knows one colour only: the white of an eye is brighter than what is around it and greyer than any skin. It
finds no faces: the caller says where the eyes are, and what open and closed ones read there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avacast.engine.mouth import Box

LUMA_FROM, LUMA_FULL = 125.0, 165.0
"""Brightness (0..255) from which a pixel may be, and surely is, the white of an eye, which the lid shades."""
WARMTH_FROM, WARMTH_FULL = 0.17, 0.09
"""Red less blue, over brightness, below which a pixel may be, and surely is, grey: the palest skin has 0.2."""


def eye_opening(frames: NDArray[np.uint8], box: Box) -> NDArray[np.float32]:
    """Area of the white of both eyes, of the area of `box`: `[F]` from RGB `[F, H, W, 3]`.

    Pale things beside the eyes add to it alike in all frames; so it is compared, never taken by itself.
    """
    top, left, bottom, right = box
    assert 0 <= top < bottom, box
    assert 0 <= left < right, box
    red, green, blue = np.moveaxis(frames[:, top:bottom, left:right].astype(np.float32), 3, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    bright = np.clip((luma - LUMA_FROM) / (LUMA_FULL - LUMA_FROM), 0, 1)
    grey = np.clip((WARMTH_FROM - (red - blue) / (luma + 1)) / (WARMTH_FROM - WARMTH_FULL), 0, 1)
    return (bright * grey).mean(axis=(1, 2)).astype(np.float32)
