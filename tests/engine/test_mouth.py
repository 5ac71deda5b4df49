"""Reading a mouth off pixels, judged on drawn faces whose opening is known."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from avacast.engine.mouth import mouth_opening, read_mouth
from avacast.training.face_renderer import Identity, Performance, mouth_box, render, sample_identity

NUM_FRAMES = 16


def talking(seed: int) -> Performance:
    """A mouth that opens, rounds, spreads and closes, with teeth and tongue, on a head that moves a little."""
    rng = np.random.default_rng(seed)
    time = np.linspace(0, 4 * np.pi, NUM_FRAMES, dtype=np.float32)
    clip = Performance.rest(NUM_FRAMES)
    clip.jaw[:] = (0.5 - 0.5 * np.cos(time)) * rng.uniform(0.3, 1.0, NUM_FRAMES)
    clip.spread[:] = 0.8 * np.sin(0.7 * time + seed)
    clip.teeth[:] = rng.uniform(0, 0.7, NUM_FRAMES)
    clip.tongue[:] = rng.uniform(0, 0.5, NUM_FRAMES)
    clip.yaw[:] = 0.08 * np.sin(0.4 * time)
    clip.pitch[:] = 0.06 * np.sin(0.5 * time)
    clip.roll[:] = 0.05 * np.sin(0.3 * time)
    clip.shift_x[:] = 0.01 * np.sin(0.4 * time)
    return clip


def read(identity: Identity, performance: Performance) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The reading and the truth."""
    clip = render(identity, performance)
    return mouth_opening(clip.frames.numpy(), mouth_box(identity)), clip.opening.numpy()


def compressed(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Blurred by scaling down and up, then through JPEG with coarse colours."""
    pictures: list[NDArray[np.uint8]] = []
    for frame in frames:
        soft = Image.fromarray(frame).resize((160, 160), Image.Resampling.BILINEAR).resize((256, 256))
        packed = io.BytesIO()
        soft.save(packed, "JPEG", quality=50)
        pictures.append(np.array(Image.open(packed)))
    return np.stack(pictures)


def test_reading_follows_the_truth_on_anybody() -> None:
    """Over 20 random people, bearded and dark ones too, the reading correlates above .97, and nobody's below .92."""
    scores = [np.corrcoef(*read(sample_identity(np.random.default_rng(s)), talking(s)))[0, 1] for s in range(700, 720)]
    print(f"mean {np.mean(scores):.3f}, worst {min(scores):.3f}")
    assert np.mean(scores) > 0.97
    assert min(scores) > 0.92


def test_reading_survives_blur_and_compression() -> None:
    """Softened and coarsely compressed frames still read with a mean correlation above .93."""
    scores: list[float] = []
    for seed in range(720, 726):
        identity = sample_identity(np.random.default_rng(seed))
        clip = render(identity, talking(seed))
        reading = mouth_opening(compressed(clip.frames.numpy()), mouth_box(identity))
        scores.append(float(np.corrcoef(reading, clip.opening.numpy())[0, 1]))
    print(f"mean {np.mean(scores):.3f}, worst {min(scores):.3f}")
    assert np.mean(scores) > 0.93


@pytest.mark.parametrize("seed", range(700, 706))
def test_closed_reads_near_zero_and_wide_reads_wide(seed: int) -> None:
    """Rest and pressed lips read below 1/8 of a wide mouth, and a wide mouth at least half of its true gap."""
    performance = Performance.rest(3)
    performance.jaw[:] = (0, 0, 1)
    performance.press[1] = 1
    reading, truth = read(sample_identity(np.random.default_rng(seed)), performance)
    assert max(reading[0], reading[1]) < 0.125 * reading[2]
    assert 0.5 * truth[2] < reading[2] < 1.2 * truth[2]


def test_known_gap() -> None:
    """A dark red band 20 pixels high between lips in a frame of 200 reads 0.1; without it, 0."""
    frames = np.full((2, 200, 200, 3), (220, 180, 150), np.uint8)
    frames[:, 80:125, 60:140] = (180, 80, 85)
    frames[1, 90:110, 65:135] = (60, 15, 22)
    reading = mouth_opening(frames, (60, 50, 150, 150))
    assert reading.dtype == np.float32
    assert reading == pytest.approx([0.0, 0.1], abs=0.005)


def test_a_tongue_does_not_divide_the_gap() -> None:
    """Lip-coloured tongue between two dark bands counts as part of the opening."""
    frames = np.full((1, 200, 200, 3), (220, 180, 150), np.uint8)
    frames[:, 70:125, 60:140] = (180, 80, 85)
    frames[:, 80:110, 65:135] = (60, 15, 22)
    frames[:, 88:102, 75:125] = (170, 72, 76)
    assert mouth_opening(frames, (50, 50, 150, 150)) == pytest.approx([0.15], abs=0.005)


def test_dark_cloth_below_is_no_mouth() -> None:
    """A maroon collar that reaches into the box from below reads as closed."""
    frames = np.full((1, 200, 200, 3), (220, 180, 150), np.uint8)
    frames[:, 130:] = (70, 12, 20)
    assert mouth_opening(frames, (60, 50, 150, 150)) == pytest.approx([0.0])


def test_a_box_outside_in_is_refused() -> None:
    """The box is top, left, bottom, right."""
    with pytest.raises(AssertionError):
        mouth_opening(np.zeros((1, 64, 64, 3), np.uint8), (40, 10, 20, 30))


def test_known_width_and_teeth() -> None:
    """A gap 70 pixels wide in a frame of 200 reads 0.35; teeth of 40 x 6 pixels above it read as their area."""
    frames = np.full((2, 200, 200, 3), (220, 180, 150), np.uint8)
    frames[:, 80:125, 60:140] = (180, 80, 85)
    frames[:, 90:110, 65:135] = (60, 15, 22)
    frames[1, 90:96, 80:120] = (235, 230, 220)
    reading = read_mouth(frames, (60, 50, 150, 150))
    assert reading.width == pytest.approx([0.35, 0.35], abs=0.015)
    assert reading.teeth == pytest.approx([0.0, 40 * 6 / 200**2], abs=0.0005)
    assert reading.opening == pytest.approx([0.1, 0.1], abs=0.005)


@pytest.mark.parametrize("seed", range(700, 706))
def test_rounded_is_narrower_than_spread(seed: int) -> None:
    """Equally open lips: rounded, at rest and spread read in this order, and shut far below."""
    performance = Performance.rest(4)
    performance.jaw[:] = (0.5, 0.5, 0.5, 0)
    performance.spread[:] = (-1, 0, 1, 0)
    identity = sample_identity(np.random.default_rng(seed))
    width = read_mouth(render(identity, performance).frames.numpy(), mouth_box(identity)).width
    assert 1.2 * width[0] < width[1] < width[2]
    assert width[3] < 0.3 * width[0]
