"""Detail of the reference picture comes back where a frame shows that picture, and nowhere else."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from avacast.engine.reference_detail import ReferenceDetail

SIDE = 128


@pytest.fixture(scope="module")
def picture() -> NDArray[np.uint8]:
    """Soft blobs under fine stripes."""
    noise = np.random.default_rng(0).uniform(0, 255, (16, 16, 3)).astype(np.float32)
    blobs = cv2.resize(noise, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    stripes = 25 * np.sin(np.arange(SIDE) * 1.9)[None, :, None]
    return np.clip(blobs + stripes, 0, 255).astype(np.uint8)


def drawn(picture: NDArray[np.uint8], right_px: float = 0) -> NDArray[np.uint8]:
    """`picture` moved, as an auto-encoder would draw it: without its stripes."""
    return cv2.GaussianBlur(moved(picture, right_px), (0, 0), 2.0)


def moved(picture: NDArray[np.uint8], right_px: float) -> NDArray[np.uint8]:
    way = np.array([[1, 0, right_px], [0, 1, 0]], np.float32)
    return cv2.warpAffine(picture, way, (SIDE, SIDE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def error(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Mean, in levels, away from the edges."""
    return float(np.abs(a.astype(np.int16) - b)[..., 16:-16, 16:-16, :].mean())


@pytest.mark.parametrize("right_px", [0.0, 1.0, 2.5])
def test_a_moved_picture_is_shown_as_sharp_as_it_is(picture: NDArray[np.uint8], right_px: float):
    """A head goes on its way slowly; at its end the stripes are where they belong."""
    detail = ReferenceDetail(picture, drawn(picture))
    frames = np.stack([drawn(picture, right_px * share) for share in np.linspace(0, 1, 12).clip(max=0.7) / 0.7])
    restored, _ = detail.restore(frames, None)
    true = moved(picture, right_px)
    assert error(restored[-1], true) < 0.4 * error(frames[-1], true)


def test_what_the_picture_does_not_show_stays_as_it_was_drawn(picture: NDArray[np.uint8]):
    """A mouth that is open."""
    frame = drawn(picture)
    frame[48:80, 48:80] = 255 - frame[48:80, 48:80] // 4
    (restored,), _ = ReferenceDetail(picture, drawn(picture)).restore(frame[None], None)
    assert np.abs(restored[56:72, 56:72].astype(np.int16) - frame[56:72, 56:72]).max() <= 1


def test_what_flickers_is_still_where_the_picture_is_still(picture: NDArray[np.uint8]):
    flicker = np.random.default_rng(1).integers(-2, 3, (8, SIDE, SIDE, 3))
    frames = np.clip(drawn(picture).astype(np.int64) + flicker, 0, 255).astype(np.uint8)
    restored, _ = ReferenceDetail(picture, drawn(picture)).restore(frames, None)
    assert error(restored[1:], restored[:-1]) < 0.1 * error(frames[1:], frames[:-1])


def test_a_stream_in_pieces_is_the_same_stream(picture: NDArray[np.uint8]):
    """To the bit, and a motion that was kept can be gone on from again."""
    detail = ReferenceDetail(picture, drawn(picture))
    frames = np.stack([drawn(picture, 0.3 * number) for number in range(9)])
    whole, _ = detail.restore(frames, None)
    first, motion = detail.restore(frames[:1], None)
    for _ in range(2):
        rest, _ = detail.restore(frames[1:], motion)
        assert np.array_equal(np.concatenate([first, rest]), whole)


def test_the_frames_that_are_given_stay_as_they_are(picture: NDArray[np.uint8]):
    frames = np.stack([drawn(picture, 1.0)] * 2)
    before = frames.copy()
    ReferenceDetail(picture, drawn(picture)).restore(frames, None)
    assert np.array_equal(frames, before)
