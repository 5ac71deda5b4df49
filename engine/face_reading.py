"""What a talking head does in each frame, read off its pixels: mouth, eyes, and the head's way to either side.

True and generated frames are read alike, so what the reading misses counts on both sides. It finds no faces: the
caller says where mouth, eyes and nose are. Knows neither sound nor what is good.
"""

from __future__ import annotations

from dataclasses import dataclass

from avacast.engine.eyes import eye_opening
from avacast.engine.measures import Frames, Track, frame_difference, sideways
from avacast.engine.mouth import Box, read_mouth


@dataclass(frozen=True)
class FaceBoxes:
    """Where to look, through all usual motion."""

    mouth: Box
    eyes: Box
    nose: Box
    """Between eyes and mouth: what moves there moves with the head."""


@dataclass(frozen=True)
class FaceReading:
    """One value per frame, `[F]` each."""

    opening: Track
    """Gap between the lips, of the frame's height."""
    width: Track
    """Of that gap, of the frame's width."""
    teeth: Track
    """Area of the teeth, of the frame's."""
    eyes: Track
    """Area of the white of the eyes, of their box."""
    sideways: Track
    """How far to the right of its place in the portrait the nose is, in pixels."""
    frame_difference: Track
    """`[F-1]`: mean absolute difference to the frame before, in levels."""


def read_face(frames: Frames, portrait: Frames, boxes: FaceBoxes) -> FaceReading:
    """Reads RGB `frames` `[F, H, W, 3]` of the head in `portrait` `[H, W, 3]`."""
    mouth = read_mouth(frames, boxes.mouth)
    return FaceReading(
        opening=mouth.opening,
        width=mouth.width,
        teeth=mouth.teeth,
        eyes=eye_opening(frames, boxes.eyes),
        sideways=sideways(frames, portrait, boxes.nose),
        frame_difference=frame_difference(frames),
    )
