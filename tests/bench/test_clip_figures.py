"""The figures of a clip: a painted mouth does what a model might do wrong, and the figure for it says so."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Protocol

import numpy as np
import pytest
from numpy.typing import NDArray

from avacast.bench.clip_figures import Figures, figures_of, figures_of_truth, joints, mean_of, vowel_frames
from avacast.bench.held_out_clip import HELD_OUT, HeldOutClip, read_held_out
from avacast.engine import measures
from avacast.engine.presets import POCKET
from avacast.engine.profile import WindowConfig


class Paint(Protocol):
    """Frames of a face; see `conftest`."""

    def __call__(
        self, opening: NDArray[np.float64], *, alive: bool = True, rounds: bool = True, teeth: bool = True
    ) -> NDArray[np.uint8]: ...


WINDOW = POCKET.window


def test_the_truth_itself_is_perfect(clip: HeldOutClip, paint: Paint, opening: NDArray[np.float64]) -> None:
    """Full correlation, no lag, shut in pauses and at bilabials, a background that is the picture's."""
    figures = figures_of(paint(opening), clip, WINDOW)
    assert figures.lip_correlation == pytest.approx(1.0)
    assert (figures.lag_ms, figures.amplitude) == (0.0, pytest.approx(1.0))
    assert (figures.closed_in_pauses, figures.bilabials_closed) == (1.0, 1.0)
    assert (figures.background_ssim, figures.sharpness) == (pytest.approx(1.0, abs=1e-4), pytest.approx(1.0))
    assert (figures.still_difference, figures.colour_error) == (0.0, 0.0)
    assert (figures.blinks_per_minute, figures.blink_correlation) == (37.5, pytest.approx(1.0))
    assert (figures.head_motion, figures.teeth_shown, figures.rest_jitter) == (pytest.approx(1.0), 1.0, 0.0)
    assert figures.rounded_width == pytest.approx(0.5, abs=0.05)


def test_the_truths_own_figures_are_those_of_its_frames(
    clip: HeldOutClip, paint: Paint, opening: NDArray[np.float64]
) -> None:
    """What the set stores gives the same figures as the true frames would."""
    assert clip.truth is not None
    stored, read = figures_of_truth(clip, clip.truth, WINDOW), figures_of(paint(opening), clip, WINDOW)
    for name, value in dataclasses.asdict(stored).items():
        if not np.isnan(value):
            assert getattr(read, name) == pytest.approx(value, abs=1e-4), name


def test_a_late_mouth_shows_its_delay(clip: HeldOutClip, paint: Paint, opening: NDArray[np.float64]) -> None:
    """Three frames late are 120 ms."""
    assert figures_of(paint(np.roll(opening, 3)), clip, WINDOW).lag_ms == 120.0


def test_a_mouth_to_other_words_fails(clip: HeldOutClip, paint: Paint, opening: NDArray[np.float64]) -> None:
    """Shuffled: no correlation, and open in pauses."""
    figures = figures_of(paint(np.random.default_rng(5).permutation(opening)), clip, WINDOW)
    assert abs(figures.lip_correlation) < 0.3
    assert figures.closed_in_pauses < 0.8


def test_the_mouth_of_another_clip_scores_near_zero() -> None:
    """On the set that ships: every true mouth against the sound of every other clip, the best lag allowed for."""
    told = [clip for clip in read_held_out(HELD_OUT) if clip.truth is not None]
    tracks = [clip.truth.reading.opening for clip in told if clip.truth is not None]
    scores = [measures.lip_sync(one, other).correlation for one, other in itertools.permutations(tracks, 2)]
    print(f"mean {np.mean(scores):.3f}, worst {max(scores):.3f}")
    assert abs(np.mean(scores)) < 0.1
    assert max(scores) < 0.5


def test_a_frozen_face_fails(clip: HeldOutClip, paint: Paint) -> None:
    """Its mouth rests, but neither follows nor opens nor shows teeth or shapes; it neither blinks nor moves."""
    figures = figures_of(paint(np.zeros(120), alive=False), clip, WINDOW)
    assert (figures.lip_correlation, figures.amplitude, figures.closed_in_pauses) == (0.0, 0.0, 1.0)
    assert (figures.teeth_shown, figures.rest_jitter) == (0.0, 0.0)
    assert np.isnan(figures.rounded_width)
    assert (figures.blinks_per_minute, figures.blink_correlation, figures.head_motion) == (0.0, 0.0, 0.0)


def test_a_mouth_of_one_shape_fails(clip: HeldOutClip, paint: Paint, opening: NDArray[np.float64]) -> None:
    """It opens as it should, but rounded vowels are as wide as spread ones."""
    figures = figures_of(paint(opening, rounds=False), clip, WINDOW)
    assert figures.lip_correlation > 0.9
    assert figures.rounded_width == pytest.approx(1.0, abs=0.05)


def test_a_mouth_without_teeth_fails(clip: HeldOutClip, paint: Paint, opening: NDArray[np.float64]) -> None:
    """It opens as it should, and shows none where the true one does."""
    figures = figures_of(paint(opening, teeth=False), clip, WINDOW)
    assert figures.lip_correlation > 0.9
    assert figures.teeth_shown == 0.0


def test_eyes_and_head_of_another_moment_fail(clip: HeldOutClip, paint: Paint, opening: NDArray[np.float64]) -> None:
    """Half a second late it blinks as often, but not when the true one does, and is elsewhere."""
    figures = figures_of(np.roll(paint(opening), 12, axis=0), clip, WINDOW)
    assert figures.blinks_per_minute == 37.5
    assert figures.blink_correlation < 0.2
    assert figures.head_motion < 0.2


def test_a_mouth_that_trembles_at_rest_shows(clip: HeldOutClip, paint: Paint, opening: NDArray[np.float64]) -> None:
    """A twelfth of the wide mouth, every second frame of the pauses."""
    trembling = opening + np.where((opening == 0) & (np.arange(120) % 2 == 0), 1 / 12, 0)
    assert 0.03 < figures_of(paint(trembling), clip, WINDOW).rest_jitter < 0.2


def test_wrong_colours_show(clip: HeldOutClip, paint: Paint, opening: NDArray[np.float64]) -> None:
    """Everything a little greener is further off than the target; nothing else tells."""
    frames = paint(opening)
    frames[..., 1] += np.uint8(12)
    assert figures_of(frames, clip, WINDOW).colour_error > 3


def test_vowels_are_known_by_their_letters(clip: HeldOutClip) -> None:
    """The middle half of a vowel counts, marks do not; one too short still has a frame."""
    assert np.flatnonzero(vowel_frames(clip, "oʊ")).tolist() == [36, 37, 38, 39]
    assert np.flatnonzero(vowel_frames(clip, "i")).tolist() == [58, 59, 60, 61]
    assert np.flatnonzero(vowel_frames(clip, "b")).tolist() == [50]
    assert not vowel_frames(clip, "o").any()


def test_a_mouth_that_never_shuts_fails(clip: HeldOutClip, paint: Paint, opening: NDArray[np.float64]) -> None:
    """It may follow, but pauses and bilabials tell."""
    figures = figures_of(paint(0.4 + 0.6 * opening), clip, WINDOW)
    assert figures.lip_correlation > 0.9
    assert (figures.closed_in_pauses, figures.bilabials_closed) == (0.0, 0.0)


def test_without_truth_the_voice_itself_is_the_measure(
    clip: HeldOutClip, paint: Paint, opening: NDArray[np.float64]
) -> None:
    """Opening follows the loudness and rests in its pauses; a shuffled mouth does neither."""
    other = dataclasses.replace(clip, truth=None, phonemes=())
    figures = figures_of(paint(opening), other, WINDOW)
    assert figures.envelope_correlation == figures_of(paint(opening), clip, WINDOW).envelope_correlation > 0.8
    assert figures.closed_in_pauses == 1.0
    assert np.isnan(figures.lip_correlation)
    shuffled = figures_of(paint(np.random.default_rng(5).permutation(opening)), other, WINDOW)
    assert abs(shuffled.envelope_correlation) < 0.3


def test_seams_show_at_the_joints_of_windows(clip: HeldOutClip, paint: Paint, opening: NDArray[np.float64]) -> None:
    """A picture whose brightness jumps with every window has a window joint far above 1."""
    frames = paint(0 * opening, alive=False)
    window_joints, _ = joints(120, WINDOW)
    for index, start in enumerate(window_joints):
        frames[start:] += np.uint8(1 + index % 2)
    assert figures_of(frames, clip, WINDOW).window_joint > 5
    assert figures_of(paint(opening), clip, WINDOW).window_joint < 1.5


def test_where_windows_and_latent_frames_join() -> None:
    """The first latent frame makes one video frame, others four; a window of 6 that shares 4 adds two at a time."""
    window_joints, latent_joints = joints(30, WindowConfig(window=6, overlap=4))
    assert latent_joints.tolist() == [1, 5, 9, 13, 17, 21, 25, 29]
    assert window_joints.tolist() == [5, 13, 21, 29]
    window_joints, _ = joints(30, WindowConfig(window=6, overlap=4, settle=0))
    assert window_joints.tolist() == [21, 29]


def test_the_mean_leaves_out_what_a_clip_does_not_tell() -> None:
    """A figure that one clip alone tells is that clip's; one that none tells stays unknown."""
    mean = mean_of([Figures(lip_correlation=0.5, amplitude=1.0), Figures(lip_correlation=0.7)])
    assert (mean.lip_correlation, mean.amplitude) == (pytest.approx(0.6), 1.0)
    assert np.isnan(mean.sharpness)
