"""Blinks, glances and a wandering head: alive, gentle, and the same wherever one looks at it from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avacast.engine.motion import Motion, motion, motion_of_latents

MINUTE = 25 * 60


@given(st.integers(0, 2**40), st.integers(0, 3000), st.integers(0, 200), st.integers(0, 200))
def test_a_piece_of_a_track_is_that_piece_of_the_whole(seed: int, start: int, before: int, length: int):
    """A function of seed and frame alone: no state, in whatever pieces it is asked for."""
    whole = motion(seed, max(0, start - before), start + length, 25)
    piece = motion(seed, start, start + length, 25)
    assert piece.shape == (length, len(Motion))
    assert np.array_equal(whole[len(whole) - length :], piece)


def test_seeds_differ():
    assert not np.array_equal(motion(1, 0, 100, 25), motion(2, 0, 100, 25))


@pytest.mark.parametrize("seed", range(5))
def test_people_blink_8_to_30_times_a_minute(seed: int):
    lids = motion(seed, 0, 5 * MINUTE, 25)[:, Motion.BLINK]
    assert lids.min() == 0
    assert lids.max() == 1
    blinks = np.count_nonzero(np.diff(lids > 0.9).astype(int) == 1) / 2 / 5
    assert 8 <= blinks <= 30


@pytest.mark.parametrize("column", [c for c in Motion if c is not Motion.BLINK])
def test_every_motion_is_of_about_unit_size_and_never_far(column: Motion):
    tracks = np.stack([motion(seed, 0, MINUTE, 25)[:, column] for seed in range(20)])
    assert 0.2 < tracks.std() < 1.3
    assert np.abs(tracks).max() < 4


@pytest.mark.parametrize("column", [Motion.YAW, Motion.PITCH, Motion.ROLL, Motion.BROW, Motion.BREATH])
def test_the_head_never_jerks(column: Motion):
    """From one frame to the next no more than a few hundredths of the whole way: no jump, no tremble."""
    track = motion(3, 0, 5 * MINUTE, 25)[:, column]
    assert np.abs(np.diff(track)).max() < 0.25
    assert np.abs(np.diff(track, n=2)).max() < 0.03


def test_the_eyes_rest_most_of_the_time():
    """Fixations, with quick glances between them."""
    track = motion(3, 0, MINUTE, 25)
    eyes = track[:, Motion.GAZE_X] + 0.3 * track[:, Motion.YAW]
    still = np.abs(np.diff(eyes)) < 1e-4
    assert 0.8 < still.mean() < 0.99


def test_latent_frames_are_four_video_frames_and_the_first_is_the_first_frame_four_times():
    frames, latents = motion(5, 0, 33, 25), motion_of_latents(5, 0, 9, 25)
    assert latents.shape == (9, 4 * len(Motion))
    assert np.array_equal(latents[0], np.tile(frames[0], 4))
    assert np.array_equal(latents[2], frames[5:9].reshape(-1))
    assert np.array_equal(motion_of_latents(5, 3, 9, 25), latents[3:])
