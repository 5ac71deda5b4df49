"""Figures of a rendered stream: how well lips follow, whether pictures stay sharp, still and without seams.

Pure numpy, each figure with a known answer for a known input. Knows tracks and pixels; knows no model, no phonemes
and no targets.

Shapes: F frames, H x W pixels, h x w cells of 8 x 8 pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avacast.engine.colour_difference import Colours, ciede2000, lab
from avacast.engine.mouth import Box

Track = NDArray[np.float32]
"""One value per frame, `[F]`."""
Frames = NDArray[np.uint8]
"""RGB, `[F, H, W, 3]`."""
Mask = NDArray[np.bool_]

CELL = 8
MAX_LAG_FRAMES = 5
MAX_SHIFT = 1 / 25
"""Of the frame's width: what a head moves to one side at most."""
CLOSED = 0.2
"""A mouth counts as closed up to this share of the way from rest to wide open."""
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_SSIM_C1, _SSIM_C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_SPEECH_RANGE_DB = 40.0
_ROWS = 4


@dataclass(frozen=True)
class LipSync:
    """Agreement of a generated mouth with the true one, over one clip."""

    correlation: float
    """At lag 0."""
    best_lag_frames: int
    """Positive: the generated mouth is late."""
    amplitude: float
    """Spread of the generated opening, of the true one's."""


def lip_sync(generated: Track, true: Track) -> LipSync:
    """Compares two opening tracks `[F]`. A mouth that does not move has correlation 0, lag 0 and amplitude 0."""
    assert generated.shape == true.shape, (generated.shape, true.shape)
    scores = {lag: correlation(generated, true, lag) for lag in range(-MAX_LAG_FRAMES, MAX_LAG_FRAMES + 1)}
    amplitude = float(np.std(generated) / max(float(np.std(true)), 1e-6))
    # Among equals the smallest lag, or a still mouth would seem early.
    return LipSync(scores[0], max(scores, key=lambda lag: (scores[lag], -abs(lag))), amplitude)


def correlation(generated: Track, true: Track, lag: int = 0) -> float:
    """Pearson's coefficient of `generated` with `true` `lag` frames earlier; 0 where one of them does not move."""
    ahead, behind = max(0, lag), max(0, -lag)
    a, b = generated[ahead : len(generated) - behind], true[behind : len(true) - ahead]
    if np.std(a) < 1e-6 or np.std(b) < 1e-6:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def closed_limit(rest: float, wide: float) -> float:
    """The opening up to which a mouth is closed that reads `rest` when shut and `wide` when wide open."""
    return rest + CLOSED * max(0.0, wide - rest)


def closed_share(opening: Track, where: Mask, limit: float) -> float:
    """Share of the frames `where` (bool `[F]`) in which the mouth is closed; NaN when there are none."""
    return float(np.mean(opening[where] <= limit)) if where.any() else float("nan")


def closures_share(opening: Track, spans: Sequence[tuple[int, int]], limit: float) -> float:
    """Share of the `spans` (first frame, one past the last) within which the mouth closes; NaN when there are none."""
    closed = [float(np.min(opening[start:stop])) <= limit for start, stop in spans]
    return float(np.mean(closed)) if closed else float("nan")


def speech_envelope(samples: NDArray[np.float32], samples_per_frame: int, num_frames: int) -> Track:
    """Loudness of each frame `[F]` in 0..1: 1 at the loudest frame, 0 at 40 dB below it."""
    padded = np.pad(samples, (0, max(0, num_frames * samples_per_frame - len(samples))))
    per_frame = padded[: num_frames * samples_per_frame].reshape(num_frames, samples_per_frame)
    level_db = 20 * np.log10(np.sqrt(np.mean(per_frame**2, axis=1)) + 1e-6)
    return np.clip(1 + (level_db - level_db.max()) / _SPEECH_RANGE_DB, 0, 1).astype(np.float32)


def jitter(track: Track, where: Mask) -> float:
    """Mean change of `track` from one frame to the next, both of them `where` (bool `[F]`); NaN when there are none."""
    steps = np.abs(np.diff(track))[where[1:] & where[:-1]]
    return float(steps.mean()) if len(steps) else float("nan")


def num_blinks(openness: Track, limit: float) -> int:
    """How often the eyes close: runs of frames below `limit`, but not one that the track begins with."""
    shut = openness < limit
    return int(np.count_nonzero(shut[1:] & ~shut[:-1]))


def pauses(silent: Mask, min_frames: int, margin_frames: int) -> Mask:
    """Frames inside silences of at least `min_frames`, less `margin_frames` at either end for the lips to get there."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], silent, [False]])))
    inside = np.zeros(len(silent), np.bool_)
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        if stop - start >= min_frames:
            inside[start + margin_frames : max(stop - margin_frames, start + margin_frames)] = True
    return inside


def luma(frames: Frames) -> NDArray[np.float32]:
    """Brightness 0..255, `[..., H, W]` of RGB `[..., H, W, 3]`."""
    return frames.astype(np.float32) @ _LUMA


def sideways(frames: Frames, reference: Frames, box: Box) -> Track:
    """How far to the right of where `reference` `[H, W, 3]` shows it the content of `box` is, in pixels `[F]`.

    The whole-pixel shift of least squared difference, and between pixels the lowest point of the parabola through its
    neighbours. Rows are averaged in groups, so that a nod matters little. The box keeps a distance from the edges.
    """
    top, left, bottom, right = box
    reach = round(MAX_SHIFT * frames.shape[2])
    assert reach <= left < right <= frames.shape[2] - reach, (box, frames.shape)
    bottom -= (bottom - top) % _ROWS
    rows = luma(frames[:, top:bottom]).reshape(len(frames), -1, _ROWS, frames.shape[2]).mean(axis=2)
    still = luma(reference[top:bottom, left:right]).reshape(-1, _ROWS, right - left).mean(axis=1)
    shifts = range(-reach, reach + 1)
    errors = np.stack([((rows[..., left + by : right + by] - still) ** 2).mean(axis=(1, 2)) for by in shifts], axis=1)
    best = np.clip(errors.argmin(axis=1), 1, 2 * reach - 1)
    before, here, after = (errors[np.arange(len(frames)), best + step] for step in (-1, 0, 1))
    curvature = np.maximum(before - 2 * here + after, 1e-6)
    return (best - reach + np.clip(0.5 * (before - after) / curvature, -1, 1)).astype(np.float32)


def still_cells(frames: Frames, reference: Frames, max_levels: int = 6) -> Mask:
    """Cells `[h, w]` in which no pixel of any frame is further than `max_levels` from `reference` `[H, W, 3]`."""
    moved = np.zeros(reference.shape[:2], np.int16)
    for frame in frames:
        np.maximum(moved, np.abs(frame.astype(np.int16) - reference).max(axis=2), out=moved)
    return _cells(moved).max(axis=(-1, -2)) <= max_levels


def ssim(frames: Frames, reference: Frames, where: Mask) -> float:
    """Mean structural similarity of brightness to `reference` `[H, W, 3]` over the cells `where` `[h, w]`.

    The index of Wang et al. (2004) on 8 x 8 blocks without overlap, so that a mask of cells cuts no block.
    """
    x, y = _cells(luma(frames))[:, where], _cells(luma(reference))[where]
    axes = (-1, -2)
    mean_x, mean_y = x.mean(axis=axes), y.mean(axis=axes)
    covariance = (x * y).mean(axis=axes) - mean_x * mean_y
    same_mean = (2 * mean_x * mean_y + _SSIM_C1) / (mean_x**2 + mean_y**2 + _SSIM_C1)
    same_shape = (2 * covariance + _SSIM_C2) / (x.var(axis=axes) + y.var(axis=axes) + _SSIM_C2)
    return float(np.mean(same_mean * same_shape))


def frame_difference(frames: Frames, where: Mask | None = None) -> Track:
    """Mean absolute difference of each frame to the one before, in levels, `[F-1]`; in the cells `where` `[h, w]`."""
    pixels = np.ones(frames.shape[1:3], np.bool_) if where is None else np.kron(where, np.ones((CELL, CELL))) > 0
    steps = range(1, len(frames))
    differences = [np.abs(frames[i].astype(np.int16) - frames[i - 1])[pixels].mean() for i in steps]
    return np.array(differences, np.float32)


def joint_ratio(difference: Track, joints: NDArray[np.int64]) -> float:
    """Mean of `difference` `[F-1]` where a frame of `joints` begins, over its mean elsewhere; 1 shows no joint."""
    at_joint = np.zeros(len(difference), np.bool_)
    at_joint[joints[(joints > 0) & (joints <= len(difference))] - 1] = True
    if at_joint.all() or not at_joint.any():
        return float("nan")
    return float(difference[at_joint].mean() / max(float(difference[~at_joint].mean()), 1e-6))


def gradient_energy(frames: Frames, box: Box) -> float:
    """Mean squared step of brightness between neighbouring pixels inside `box`: what blur takes away."""
    top, left, bottom, right = box
    inside = luma(frames[:, top:bottom, left:right])
    return float(np.mean(np.diff(inside, axis=1) ** 2) + np.mean(np.diff(inside, axis=2) ** 2))


def colour_drift(frames: Frames, num_frames: int) -> float:
    """Mean CIEDE2000 over the cells between the mean of the first and of the last `num_frames` frames.

    Motion adds to it, so over a short clip it is read beside the true frames' own.
    """
    return float(ciede2000(mean_colours(frames[:num_frames]), mean_colours(frames[-num_frames:])).mean())


def mean_colours(frames: Frames) -> Colours:
    """Colour in L*a*b* of each cell of the mean frame, `[h, w, 3]`."""
    height, width, _ = frames.shape[1:]
    return lab(frames.mean(axis=0).reshape(height // CELL, CELL, width // CELL, CELL, 3).mean(axis=(1, 3)))


def colour_error(colours: Colours, true: Colours) -> float:
    """CIEDE2000 of two sets of cells in L*a*b* `[h, w, 3]` that nine cells in ten stay below."""
    return float(np.percentile(ciede2000(colours, true), 90))


def _cells(image: NDArray[Any]) -> NDArray[Any]:
    """`[..., H, W]` cut into cells `[..., h, w, 8, 8]`."""
    *rest, height, width = image.shape
    return image.reshape(*rest, height // CELL, CELL, width // CELL, CELL).swapaxes(-3, -2)
