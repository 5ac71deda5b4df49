"""How the head of an avatar lives apart from its speech: blinks, glances, a wandering head, breath.

Sound does not explain these motions, so a network that has to guess them answers with their average: a still, soft
face. They are therefore acted here and given to it as a condition. A track is a function of the seed and the frame, of
nothing else: no state, any piece of it at any time, and the same however a stream was cut. Knows numbers; draws
nothing.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from avacast.engine.config import TEMPORAL_STRIDE


class Motion(IntEnum):
    """Columns of a track, each of about unit size and zero where the head rests as in its picture."""

    BLINK = 0
    """0 open .. 1 closed."""
    GAZE_X = 1
    """Positive looks towards the picture's right."""
    GAZE_Y = 2
    """Positive looks down."""
    BROW = 3
    """Positive is raised."""
    YAW = 4
    """Positive turns towards the picture's right."""
    PITCH = 5
    """Positive nods down."""
    ROLL = 6
    """Positive tilts clockwise."""
    BREATH = 7
    """Positive lifts head and shoulders."""


Track = NDArray[np.float32]
"""`[F, len(Motion)]`, one row per video frame."""

_LID = np.array([0.35, 1.0, 1.0, 0.6, 0.2], np.float32)
"""A blink, frame by frame at 25 fps."""
_BLINK_CELL_S = 3.6
"""One blink in each cell of time, now and then two: about 18 a minute."""
_SECOND_BLINK = 0.1
_GLANCE_CELL_S = 1.7
"""One fixation of the eyes in each."""
_GLANCE_S = 0.08
"""The eyes travel this long."""
_CAMERA_SHARE = 0.55
"""Share of the fixations that look into the camera."""
_BREATHS_PER_S = (0.20, 0.30)
_WANDER_HZ = (0.06, 0.45)
"""From the slowest to the fastest of the waves that make up a wandering track."""
_NUM_WAVES = 4


def motion(seed: int, start: int, stop: int, fps: float) -> Track:
    """Motion in the video frames [start, stop) of the stream `seed`, from frame 0; `seed` is 0 or above."""
    assert 0 <= start <= stop, (start, stop)
    time_s = np.arange(start, stop) / fps
    track = np.zeros((len(time_s), len(Motion)), np.float32)
    track[:, Motion.BLINK] = _blinks(seed, start, stop, fps)
    track[:, Motion.GAZE_X], track[:, Motion.GAZE_Y] = _glances(seed, time_s)
    for column in (Motion.BROW, Motion.YAW, Motion.PITCH, Motion.ROLL):
        track[:, column] = _wander(seed, column, time_s)
    track[:, Motion.BREATH] = _breath(seed, time_s)
    # The eyes stay on what they look at while the head turns under them.
    track[:, Motion.GAZE_X] -= 0.3 * track[:, Motion.YAW]
    return track


def latent_motion(track: Track) -> Track:
    """The track of the video frames of L whole latent frames, `[4L, M]`, as one row for each: `[L, 4M]`."""
    assert len(track) % TEMPORAL_STRIDE == 0, len(track)
    return track.reshape(len(track) // TEMPORAL_STRIDE, -1)


def motion_of_latents(seed: int, start: int, stop: int, fps: float) -> Track:
    """Motion in the latent frames [start, stop), `[L, 4M]`; latent 0 is video frame 0 four times over."""
    first = TEMPORAL_STRIDE * (start - 1) + 1
    track = motion(seed, max(0, first), TEMPORAL_STRIDE * (stop - 1) + 1, fps)
    if first < 0:
        track = np.concatenate((np.repeat(track[:1], -first, axis=0), track))
    return latent_motion(track)


def _generator(seed: int, *place: int) -> np.random.Generator:
    return np.random.default_rng((seed, *place))


def _wander(seed: int, column: int, time_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """A slow smooth wander of about unit size: waves whose height falls with their frequency."""
    rng = _generator(seed, 1, column)
    frequency_hz = np.geomspace(*_WANDER_HZ, _NUM_WAVES) * rng.uniform(0.8, 1.25, _NUM_WAVES)
    height = frequency_hz**-0.5
    height *= np.sqrt(2 / np.sum(height**2))
    phase = rng.uniform(0, 2 * np.pi, _NUM_WAVES)
    return np.sin(2 * np.pi * np.outer(time_s, frequency_hz) + phase) @ height


def _breath(seed: int, time_s: NDArray[np.float64]) -> NDArray[np.float64]:
    rng = _generator(seed, 2)
    return np.sin(2 * np.pi * rng.uniform(*_BREATHS_PER_S) * time_s + rng.uniform(0, 2 * np.pi))


def _blinks(seed: int, start: int, stop: int, fps: float) -> NDArray[np.float32]:
    cell = round(_BLINK_CELL_S * fps)
    lids = np.zeros(stop - start + 2 * len(_LID), np.float32)
    for index in range(max(0, (start - len(_LID)) // cell), stop // cell + 1):
        rng = _generator(seed, 3, index)
        begins = index * cell + int(rng.uniform(0.1, 0.85) * cell)
        for first in (begins, begins + 2 * len(_LID))[: 1 + (rng.random() < _SECOND_BLINK)]:
            at = first - start + len(_LID)
            if 0 <= at <= len(lids) - len(_LID):
                lids[at : at + len(_LID)] = _LID
    return lids[len(_LID) : len(_LID) + stop - start]


def _glances(seed: int, time_s: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the eyes look, x and y: fixations, each left for the next within two frames."""
    cells = np.floor(time_s / _GLANCE_CELL_S).astype(int)
    first, last = (int(cells[0]) - 1, int(cells[-1])) if len(cells) else (-1, 0)
    fixations = [_fixation(seed, index) for index in range(first, last + 1)]
    begins_s, places = (np.array(values) for values in zip(*fixations, strict=True))
    arrived = np.clip((time_s - begins_s[cells - first]) / _GLANCE_S, 0, 1)[:, None]
    before, here = places[cells - first - 1], places[cells - first]
    eyes = before + (here - before) * arrived * arrived * (3 - 2 * arrived)
    return eyes[:, 0], eyes[:, 1]


def _fixation(seed: int, index: int) -> tuple[float, tuple[float, float]]:
    """When, in seconds, the fixation of that cell begins, and where it looks."""
    if index < 0:
        return 0.0, (0.0, 0.0)
    rng = _generator(seed, 4, index)
    begins_s = (index + rng.uniform(0.05, 0.6)) * _GLANCE_CELL_S
    at_camera = rng.random() < _CAMERA_SHARE
    x, y = rng.normal(0, 0.12 if at_camera else 0.8), rng.normal(0, 0.08 if at_camera else 0.4)
    return begins_s, (float(np.clip(x, -1.5, 1.5)), float(np.clip(y, -1.0, 1.0)))
