"""From what is said to how the head plays it: mouth tracks, blinks, gaze and head motion for the renderer.

Head motion follows the voice (a nod with the slow loudness), because motion that the sound does not explain can only
be blurred by a model that takes one or two steps. Knows phonemes and loudness; draws nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avacast.engine.config import SAMPLE_RATE_HZ
from avacast.engine.voice import Phoneme
from avacast.training.mouth_shapes import mouth_tracks
from avacast.training.performance import Performance
from avacast.training.speech import SpokenTrack

_BLINK = np.array([0.35, 1.0, 1.0, 0.6, 0.2], np.float32)
_PAUSE_S = 0.18
_IDLE_BLINKS_PER_S = 0.12


def perform(rng: np.random.Generator, track: SpokenTrack, num_frames: int, fps: float) -> Performance:
    """The performance of one spoken track: [F] values at the middle of each video frame."""
    mouth = mouth_tracks(track.phonemes, num_frames, fps)
    loudness = slow_loudness(track.clean, num_frames, fps)
    sway = _drift(rng, num_frames, fps, 3)
    return Performance(
        jaw=mouth[:, 0],
        spread=mouth[:, 1],
        press=mouth[:, 2],
        teeth=mouth[:, 3],
        tongue=mouth[:, 4],
        blink=_blinks(rng, track.phonemes, num_frames, fps),
        gaze_x=0.15 * _drift(rng, num_frames, fps, 1)[0],
        gaze_y=np.zeros(num_frames, np.float32),
        brow=0.5 * loudness,
        yaw=0.012 * sway[0],
        pitch=0.10 * (loudness - 0.25) + 0.008 * sway[1],
        roll=0.03 * loudness + 0.008 * sway[2],
        shift_x=np.zeros(num_frames, np.float32),
        shift_y=-0.006 * loudness,
    )


def neutral(rng: np.random.Generator) -> Performance:
    """One frame of a portrait: mouth closed, eyes open, nearly straight."""
    rest = Performance.rest(1)
    rest.yaw[:] = rng.normal(0.0, 0.012)
    rest.pitch[:] = rng.normal(-0.02, 0.012)
    rest.roll[:] = rng.normal(0.0, 0.008)
    return rest


def slow_loudness(samples: NDArray[np.float32], num_frames: int, fps: float) -> NDArray[np.float32]:
    """Loudness in about [0, 1], smoothed causally over 0.3 s: what a nodding head can follow. [F]"""
    hop = int(SAMPLE_RATE_HZ / fps)
    padded = np.pad(samples, (0, max(0, num_frames * hop - len(samples))))[: num_frames * hop]
    power = np.sqrt(np.mean(padded.reshape(num_frames, hop) ** 2, axis=1))
    level = np.clip((20.0 * np.log10(power + 1e-5) + 50.0) / 40.0, 0.0, 1.0)
    smooth = np.zeros(num_frames, np.float32)
    first = second = 0.0
    step = 1.0 - np.exp(-1.0 / (0.15 * fps))
    for index, value in enumerate(level):
        first += step * (value - first)
        second += step * (first - second)
        smooth[index] = second
    return smooth


def _blinks(
    rng: np.random.Generator, phonemes: tuple[Phoneme, ...], num_frames: int, fps: float
) -> NDArray[np.float32]:
    """People blink where they pause: at the end of a phrase, and now and then besides."""
    lids = np.zeros(num_frames + len(_BLINK), np.float32)
    starts = [int((p.start_s + 0.06) * fps) for p in phonemes if not p.name and p.end_s - p.start_s >= _PAUSE_S]
    if phonemes:
        starts.append(int((phonemes[-1].end_s + 0.02) * fps))
    starts += [int(t) for t in np.flatnonzero(rng.random(num_frames) < _IDLE_BLINKS_PER_S / fps)]
    for start in starts:
        if 0 <= start < num_frames:
            lids[start : start + len(_BLINK)] = np.maximum(lids[start : start + len(_BLINK)], _BLINK)
    return lids[:num_frames]


def _drift(rng: np.random.Generator, num_frames: int, fps: float, num_tracks: int) -> NDArray[np.float32]:
    """Slow smooth wander of about unit size. [T, F]"""
    time_s = np.arange(num_frames) / fps
    tracks = np.zeros((num_tracks, num_frames))
    for _ in range(3):
        frequency = rng.uniform(0.05, 0.35, (num_tracks, 1))
        tracks += np.sin(2 * np.pi * (frequency * time_s + rng.random((num_tracks, 1)))) / np.sqrt(1.5)
    return tracks.astype(np.float32)
