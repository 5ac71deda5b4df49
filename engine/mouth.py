"""What a frame shows of the mouth: how far it is open, how wide, and its teeth, read off the pixels of a drawn face.

This module knows colours only: the inside of a mouth is dark and deep red, teeth are pale and grey, lips and skin lie
between. It finds no faces: the caller says where the mouth is. It knows neither sound nor who was drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Box = tuple[int, int, int, int]
"""Top, left, bottom, right in pixels; bottom and right are outside."""

DARK_FROM, DARK_FULL = 72.0, 48.0
"""Brightness (0..255) below which a pixel may be, and surely is, inside a mouth."""
RED_FROM, RED_FULL = 0.78, 1.20
"""Redness over brightness: black hair stays below 0.4, shaded dark skin and lips below 0.8, a cavity has 1.4."""
TOOTH_LUMA = 96.0
"""Brightness from which a grey pixel next to the cavity is a tooth."""
TOOTH_RED = 0.38
"""Redness over brightness below which a pixel is grey enough for a tooth."""
TOOTH_REACH = 1 / 24
"""Longest tooth, of the frame's height."""
TONGUE_REACH = 1 / 12
"""Highest tongue, of the frame's height: it has the colour of a lip, so it is known by what is above and below it."""
LOWEST_START = 0.6
"""Part of the box's height above which an opening begins; what begins lower is collar, not mouth."""
CORE = 1 / 5
"""Part of the box's width over which the opening is averaged."""


GAP_FROM, GAP_FULL = 1 / 256, 1 / 100
"""Height of a gap, of the frame's, from which a column may be, and surely is, between the corners of the mouth."""


@dataclass(frozen=True)
class MouthReading:
    """What is read off each frame, `[F]` each."""

    opening: NDArray[np.float32]
    """Gap between the lips, of the frame's height: nearly 0 when closed."""
    width: NDArray[np.float32]
    """Of the gap, from corner to corner, of the frame's width. It tells the shape of the lips where they are open."""
    teeth: NDArray[np.float32]
    """Area of the teeth, of the frame's."""


def mouth_opening(frames: NDArray[np.uint8], box: Box) -> NDArray[np.float32]:
    """Gap between the lips in each frame, of the frame's height: `[F]` from RGB `[F, H, W, 3]`."""
    return read_mouth(frames, box).opening


def read_mouth(frames: NDArray[np.uint8], box: Box) -> MouthReading:
    """Reads the mouth inside `box` off RGB `[F, H, W, 3]`.

    In every column of `box` the gap reaches from the first to the last pixel that looks like the inside of a mouth;
    the opening is the mean gap over the widest-open run of neighbouring columns.
    """
    height, width = frames.shape[1:3]
    inside, teeth = _inside(_crop(frames, box), tooth_reach=round(height * TOOTH_REACH))
    heights = _connected(inside, reach=round(height * TONGUE_REACH)).sum(axis=1)
    # Teeth can hide the cavity in the middle; a gap is never lower there than on both sides.
    heights = _closed(heights, reach=heights.shape[1] // 2)
    run = max(1, round(heights.shape[1] * CORE))
    summed = np.cumsum(np.pad(heights, ((0, 0), (1, 0))), axis=1)
    means = (summed[:, run:] - summed[:, :-run]) / run
    between = np.clip((heights / height - GAP_FROM) / (GAP_FULL - GAP_FROM), 0, 1)
    return MouthReading(
        opening=(means.max(axis=1) / height).astype(np.float32),
        width=(between.sum(axis=1) / width).astype(np.float32),
        teeth=(teeth.sum(axis=(1, 2)) / (height * width)).astype(np.float32),
    )


def _crop(frames: NDArray[np.uint8], box: Box) -> NDArray[np.float32]:
    assert frames.shape[3:] == (3,), frames.shape
    top, left, bottom, right = box
    height, width = frames.shape[1:3]
    assert 0 <= top < bottom, box
    assert 0 <= left < right, box
    return frames[:, top : min(bottom, height), left : min(right, width)].astype(np.float32)


def _inside(pixels: NDArray[np.float32], tooth_reach: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Likeness 0..1 of each pixel to the inside of a mouth, teeth included, and to its teeth: `[F, h, w]` each."""
    red, green, blue = (_smoothed(pixels[..., channel]) for channel in range(3))
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    redness = (red - 0.5 * (green + blue)) / (luma + 2.0)
    dark = np.clip((DARK_FROM - luma) / (DARK_FROM - DARK_FULL), 0, 1)
    deep = np.clip((redness - RED_FROM) / (RED_FULL - RED_FROM), 0, 1)
    tooth = (luma > TOOTH_LUMA) & (redness < TOOTH_RED)
    return _with_teeth((dark * deep).astype(np.float32, copy=False), tooth, tooth_reach)


def _smoothed(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Averages each pixel with its two neighbours in the row: noise falls, the height of the gap stays."""
    padded = np.pad(plane, ((0, 0), (0, 0), (1, 1)), mode="edge")
    smoothed = 0.25 * padded[..., :-2] + 0.5 * plane + 0.25 * padded[..., 2:]
    return smoothed.astype(np.float32, copy=False)


def _with_teeth(
    cavity: NDArray[np.float32], tooth: NDArray[np.bool_], reach: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Grows the cavity upwards through teeth, so that a white moustache beyond the lip is not taken for one.

    Returns the cavity with its teeth, and the teeth alone.
    """
    inside = cavity.copy()
    tooth = tooth.copy()
    tooth[:, round(tooth.shape[1] * LOWEST_START) :] = False
    for _ in range(reach):
        # One pixel may be skipped: the edge between tooth and cavity has the colour of neither.
        below = np.zeros_like(inside)
        below[:, :-1] = inside[:, 1:]
        below[:, :-2] = np.maximum(below[:, :-2], inside[:, 2:])
        inside = np.maximum(inside, np.where(tooth, below, 0.0))
    return inside, np.where(tooth, inside, np.float32(0))


def _connected(inside: NDArray[np.float32], reach: int) -> NDArray[np.float32]:
    """Closes gaps of up to `reach` rows in each column, and drops what lies below the mouth and apart from it."""
    closed = _closed(inside.swapaxes(1, 2), reach).swapaxes(1, 2)
    below = round(closed.shape[1] * LOWEST_START)
    closed[:, below:] = np.minimum.accumulate(closed[:, below:], axis=1)
    return closed


def _closed(values: NDArray[np.float32], reach: int) -> NDArray[np.float32]:
    """Greyscale closing along the last axis: valleys narrower than `reach` are filled to the lower of their sides."""
    margin = [(0, 0)] * (values.ndim - 1) + [(reach, reach)]
    padded = np.ascontiguousarray(np.pad(values, margin))
    covered = 1
    while covered <= reach:
        step = min(covered, reach + 1 - covered)
        padded[..., step:] = np.maximum(padded[..., step:], padded[..., :-step])
        covered += step
    covered = 1
    while covered <= reach:
        step = min(covered, reach + 1 - covered)
        padded[..., :-step] = np.minimum(padded[..., :-step], padded[..., step:])
        covered += step
    return padded[..., reach : reach + values.shape[-1]]
