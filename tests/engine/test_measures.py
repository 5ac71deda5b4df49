"""Every figure against inputs whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from avacast.engine import measures


@pytest.fixture
def truth() -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    return np.convolve(rng.random(220), np.ones(4) / 4, "same").astype(np.float32)


@pytest.fixture
def clip() -> NDArray[np.uint8]:
    """Texture that brightens by one level a frame in its right half, uint8 [12, 32, 32, 3]."""
    texture = np.random.default_rng(1).integers(40, 200, (32, 32, 3))
    frames = np.repeat(texture[None], 12, axis=0)
    frames[:, :, 16:] += np.arange(12)[:, None, None, None]
    return frames.astype(np.uint8)


def test_a_perfect_mouth(truth: NDArray[np.float32]) -> None:
    """The truth against itself: correlation 1, no lag, full amplitude."""
    assert measures.lip_sync(truth, truth) == measures.LipSync(pytest.approx(1.0), 0, pytest.approx(1.0))


@pytest.mark.parametrize("lag", [-5, -3, 2, 5])
def test_a_delayed_mouth_shows_its_delay(truth: NDArray[np.float32], lag: int) -> None:
    """A mouth that is late by n frames has best lag n; an early one has a negative lag."""
    assert measures.lip_sync(np.roll(truth, lag), truth).best_lag_frames == lag


def test_a_mouth_to_other_words_scores_near_zero(truth: NDArray[np.float32]) -> None:
    """Shuffled speech does not correlate, though it opens as wide."""
    sync = measures.lip_sync(np.random.default_rng(1).permutation(truth), truth)
    assert abs(sync.correlation) < 0.25
    assert sync.amplitude == pytest.approx(1.0)


def test_a_frozen_mouth_fails(truth: NDArray[np.float32]) -> None:
    """No motion: correlation 0, amplitude 0 and no lag, not an error."""
    sync = measures.lip_sync(np.full_like(truth, 0.3), truth)
    assert sync == measures.LipSync(0.0, 0, pytest.approx(0.0, abs=1e-6))


def test_a_timid_mouth_shows_in_the_amplitude_alone(truth: NDArray[np.float32]) -> None:
    """Half the motion: amplitude one half, full correlation."""
    sync = measures.lip_sync(0.1 + truth / 2, truth)
    assert sync.correlation == pytest.approx(1.0)
    assert sync.amplitude == pytest.approx(0.5)


def test_tracks_of_different_lengths_are_a_broken_contract(truth: NDArray[np.float32]) -> None:
    """Frames that do not belong together are not compared."""
    with pytest.raises(AssertionError):
        measures.lip_sync(truth[1:], truth)


def test_the_share_of_closed_frames() -> None:
    """Counted only where asked, against a limit between rest and wide open; nothing to count is NaN."""
    opening = np.array([0.1, 0.1, 0.5, 0.9], np.float32)
    limit = measures.closed_limit(rest=0.1, wide=0.9)
    assert limit == pytest.approx(0.26)
    assert measures.closed_share(opening, np.array([True, True, True, True]), limit) == 0.5
    assert measures.closed_share(opening, np.array([True, True, False, False]), limit) == 1.0
    assert np.isnan(measures.closed_share(opening, np.zeros(4, np.bool_), limit))


def test_a_closure_counts_when_any_frame_of_its_span_is_closed() -> None:
    """One span with a closed frame, one without: a half; no spans: NaN."""
    opening = np.array([0.9, 0.1, 0.9, 0.9], np.float32)
    assert measures.closures_share(opening, [(0, 2), (2, 4)], 0.2) == 0.5
    assert np.isnan(measures.closures_share(opening, [], 0.2))


def test_the_envelope_follows_loudness() -> None:
    """1 at the loudest frame, one half at 20 dB below it, 0 in silence and after the end of the sound."""
    samples = np.concatenate([np.full(640, 0.5), np.full(640, 0.05), np.zeros(640)]).astype(np.float32)
    assert measures.speech_envelope(samples, 640, 4) == pytest.approx([1.0, 0.5, 0.0, 0.0], abs=1e-3)


def test_pauses_are_long_silences_without_their_edges() -> None:
    """A silence of three frames is none; one of six, less one at either end, has four; at the stream's end alike."""
    silent = np.array([int(c) for c in "0111001111110011111"], np.bool_)
    found = measures.pauses(silent, min_frames=5, margin_frames=1)
    assert "".join("01"[int(frame)] for frame in found) == "0000000111100001110"


def test_still_cells_are_those_where_nothing_moves(clip: NDArray[np.uint8]) -> None:
    """The left half stands still, the right half brightens by eleven levels."""
    still = measures.still_cells(clip, clip[0])
    assert still.tolist() == [[True, True, False, False]] * 4
    assert measures.still_cells(clip, clip[0], max_levels=11).all()


def test_ssim_of_equal_other_and_noisy_pictures(clip: NDArray[np.uint8]) -> None:
    """1 for the picture itself, near 0 for unrelated texture, in between for noise; only where asked."""
    rng = np.random.default_rng(2)
    everywhere, left = np.ones((4, 4), np.bool_), np.repeat([[True, True, False, False]], 4, axis=0)
    other = rng.integers(40, 200, clip.shape).astype(np.uint8)
    noisy = (clip + rng.normal(0, 25, clip.shape)).clip(0, 255).astype(np.uint8)
    assert measures.ssim(clip[:1], clip[0], everywhere) == pytest.approx(1.0, abs=1e-4)
    assert abs(measures.ssim(other, clip[0], everywhere)) < 0.1
    assert 0.5 < measures.ssim(noisy, clip[0], everywhere) < 0.95
    noisy[:, :, :16] = clip[:, :, :16]
    assert measures.ssim(noisy, clip[0], left) == pytest.approx(1.0, abs=1e-4)


def test_frame_difference_in_levels(clip: NDArray[np.uint8]) -> None:
    """Half the picture rises by one level a frame: 0.5 in all, 0 and 1 in its halves."""
    left = np.repeat([[True, True, False, False]], 4, axis=0)
    assert measures.frame_difference(clip) == pytest.approx([0.5] * 11)
    assert measures.frame_difference(clip, left) == pytest.approx([0.0] * 11)
    assert measures.frame_difference(clip, ~left) == pytest.approx([1.0] * 11)


def test_a_seam_shows_at_its_joints_alone() -> None:
    """Twice the change where frames 4 and 8 begin: ratio 2 there, and about 1 at joints where no seam is."""
    difference = np.ones(11, np.float32)
    difference[[3, 7]] = 2.0
    assert measures.joint_ratio(difference, np.array([4, 8])) == pytest.approx(2.0)
    assert measures.joint_ratio(np.ones(11, np.float32), np.array([4, 8])) == pytest.approx(1.0)
    assert measures.joint_ratio(difference, np.array([2, 6])) < 1.0
    assert np.isnan(measures.joint_ratio(difference, np.array([], np.int64)))


def test_blur_takes_gradient_energy(clip: NDArray[np.uint8]) -> None:
    """A picture blurred over two pixels keeps about half of it, a flat one none; outside the box nothing counts."""
    box = (0, 0, 32, 16)
    blurred = ((clip.astype(np.uint16) + np.roll(clip, 1, axis=1)) // 2).astype(np.uint8)
    sharp = measures.gradient_energy(clip, box)
    assert 0.3 < measures.gradient_energy(blurred, box) / sharp < 0.7
    assert measures.gradient_energy(np.full_like(clip, 90), box) == 0.0
    clip[:, :, 16:] = 0
    assert measures.gradient_energy(clip, box) == pytest.approx(sharp)


def test_drift_is_the_difference_of_first_and_last_colours() -> None:
    """A picture that stays has none; grey 100 becoming grey 110 has the CIEDE2000 of these two."""
    from avacast.engine.colour_difference import ciede2000, lab

    frames = np.full((10, 16, 16, 3), 100, np.uint8)
    assert measures.colour_drift(frames, 3) == 0.0
    frames[5:] = 110
    expected = ciede2000(lab(np.full(3, 100.0)), lab(np.full(3, 110.0)))
    assert measures.colour_drift(frames, 3) == pytest.approx(float(expected))
    assert expected > 3


def test_jitter_is_counted_between_neighbours_only() -> None:
    """Steps of one tenth inside, a jump at the edge left out; nothing to count is NaN."""
    track = np.array([0.0, 0.1, 0.0, 0.9, 0.9], np.float32)
    where = np.array([True, True, True, False, True])
    assert measures.jitter(track, where) == pytest.approx(0.1)
    assert np.isnan(measures.jitter(track, ~where))


def test_blinks_are_counted_once_each() -> None:
    """Two closures, one of them long; eyes that are shut from the start are none."""
    openness = np.array([1, 1, 0, 1, 1, 0, 0, 0, 1], np.float32)
    assert measures.num_blinks(openness, 0.5) == 2
    assert measures.num_blinks(openness[2:], 0.5) == 1
    assert measures.num_blinks(np.zeros(5, np.float32), 0.5) == 0


@pytest.mark.parametrize("by", [-2, -0.5, 0, 0.25, 2])
def test_sideways_in_parts_of_a_pixel(by: float) -> None:
    """Smooth stripes that move to the right, and nod by a pixel too, read their way to a tenth of a pixel."""
    x = np.arange(100) - np.array([0.0, by])[:, None]
    waves = 128 + 60 * np.sin(0.3 * x) + 30 * np.sin(0.11 * x + 1)
    frames = np.repeat(np.repeat(waves[:, None, :, None], 40, axis=1), 3, axis=3).astype(np.uint8)
    moved = measures.sideways(np.roll(frames, 1, axis=1), frames[0], (8, 20, 32, 80))
    assert moved == pytest.approx([0.0, by], abs=0.1)


def test_sideways_needs_room() -> None:
    """A box at the edge of the frame cannot be followed."""
    with pytest.raises(AssertionError):
        measures.sideways(np.zeros((1, 64, 64, 3), np.uint8), np.zeros((64, 64, 3), np.uint8), (8, 0, 16, 40))


def test_colour_error_is_what_nine_cells_in_ten_stay_below() -> None:
    """Equal colours have none; one cell in sixteen that is quite another changes little, half of them do."""
    frames = np.full((2, 32, 32, 3), 100, np.uint8)
    true = measures.mean_colours(frames)
    assert true.shape == (4, 4, 3)
    frames[:, :8, :8] = (250, 20, 20)
    assert measures.colour_error(measures.mean_colours(frames), true) == 0.0
    frames[:, :16] = (250, 20, 20)
    assert measures.colour_error(measures.mean_colours(frames), true) > 20
