"""From what is said to how the head plays it: mouth tracks, blinks, gaze and head motion for the renderer.

The mouth follows the phonemes; everything else is the engine's own `motion`, which a live session also gives to the
network. Knows phonemes and motion; draws nothing.
"""

from __future__ import annotations

import numpy as np

from avacast.engine.motion import Motion, motion
from avacast.training.mouth_shapes import mouth_tracks
from avacast.training.performance import Performance
from avacast.training.speech import SpokenTrack

GAZE_X, GAZE_Y, BROW = 0.5, 0.4, 0.4
YAW_RAD, PITCH_RAD, ROLL_RAD = 0.05, 0.03, 0.018
BREATH = 0.003
"""How far the drawn head goes for one unit of each motion: gently."""


def perform(track: SpokenTrack, portrait: Performance, seed: int, num_frames: int, fps: float) -> Performance:
    """The performance of one spoken track: [F] values at the middle of each video frame.

    `portrait` is the one frame from which the head moves away; `seed` is that of `motion`.
    """
    mouth = mouth_tracks(track.phonemes, num_frames, fps)
    move = motion(seed, 0, num_frames, fps)
    turn = {name: getattr(portrait, name).astype(np.float32) for name in ("yaw", "pitch", "roll")}
    return Performance(
        jaw=mouth[:, 0],
        spread=mouth[:, 1],
        press=mouth[:, 2],
        teeth=mouth[:, 3],
        tongue=mouth[:, 4],
        blink=move[:, Motion.BLINK],
        gaze_x=GAZE_X * move[:, Motion.GAZE_X],
        gaze_y=GAZE_Y * move[:, Motion.GAZE_Y],
        brow=BROW * move[:, Motion.BROW],
        yaw=turn["yaw"] + np.float32(YAW_RAD) * move[:, Motion.YAW],
        pitch=turn["pitch"] + np.float32(PITCH_RAD) * move[:, Motion.PITCH],
        roll=turn["roll"] + np.float32(ROLL_RAD) * move[:, Motion.ROLL],
        shift_x=np.zeros(num_frames, np.float32),
        shift_y=-BREATH * move[:, Motion.BREATH],
    )


def neutral(rng: np.random.Generator) -> Performance:
    """One frame of a portrait: mouth closed, eyes open, nearly straight."""
    rest = Performance.rest(1)
    rest.yaw[:] = rng.normal(0.0, 0.012)
    rest.pitch[:] = rng.normal(-0.02, 0.012)
    rest.roll[:] = rng.normal(0.0, 0.008)
    return rest
