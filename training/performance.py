"""What a drawn face does, frame by frame, and how its head's motion maps the frame onto the resting face.

This module knows motion and coordinates. It does not know what is painted where, nor what is said.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avacast.training.shapes import POINTS, smoothstep

Track = NDArray[np.float32]

DEPTH = 46.0
"""Points that the front of the face travels for one radian of yaw or pitch."""
JAW_DROP = 17.0
"""Points that the chin travels when the mouth opens fully."""
PIVOT = (128.0, 206.0)
"""Where the head turns on the neck, in points."""


@dataclass(frozen=True)
class Performance:
    """A clip's motion; every field is a float32 vector `[F]`, one value per frame."""

    jaw: Track
    """0..1 opening of the mouth; the gap between the lips is proportional to it."""
    spread: Track
    """-1 rounded (o, u), 0 neutral, 1 spread (e, i)."""
    press: Track
    """0..1 lips pressed together (p, b, m): thin lips, and no gap at 1."""
    teeth: Track
    """0..1 upper teeth within the opening (f, v, s)."""
    tongue: Track
    """0..1 tongue raised within the opening (l, n, d, t)."""
    blink: Track
    """0..1 eyelids closed."""
    gaze_x: Track
    """-1..1, positive looks towards the picture's right."""
    gaze_y: Track
    """-1..1, positive looks down."""
    brow: Track
    """-1 lowered..1 raised."""
    yaw: Track
    """Radians, positive turns towards the picture's right."""
    pitch: Track
    """Radians, positive nods down."""
    roll: Track
    """Radians, positive tilts clockwise."""
    shift_x: Track
    """Of the frame's side, positive to the right."""
    shift_y: Track
    """Of the frame's side, positive down."""

    @classmethod
    def rest(cls, num_frames: int) -> Self:
        """Mouth closed, eyes open, head still."""
        return cls(**{f.name: np.zeros(num_frames, np.float32) for f in dataclasses.fields(cls)})

    @property
    def num_frames(self) -> int:
        return int(self.jaw.shape[0])

    def tracks(self, device: str) -> dict[str, Tensor]:
        """Every field as a float32 tensor `[F, 1, 1]`, clear to multiply with pictures."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        tracks = {name: torch.as_tensor(v, dtype=torch.float32, device=device) for name, v in values.items()}
        for name, track in tracks.items():
            assert track.shape == (self.num_frames,), f"{name} is {tuple(track.shape)}, not [{self.num_frames}]"
        return {name: track.view(-1, 1, 1) for name, track in tracks.items()}


@dataclass(frozen=True)
class HeadMotion:
    """Where each point of some frames lies on the resting face. Tracks are `[F, 1, 1]`."""

    tracks: dict[str, Tensor]
    mouth_y: float
    face_length: float

    def to_face(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Frame points `[F|1, H, W]` to points `[F, H, W]` of the unturned head, x from the middle of the face."""
        t = self.tracks
        u, v = self._unroll(x, y)
        depth = (1 - (u / 92) ** 2 - ((v - 128) / 112) ** 2).clamp_min_(0) * DEPTH
        return u - t["yaw"] * depth, v - t["pitch"] * depth

    def to_skin(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """As `to_face`, with the dropped jaw undone too: where to look on the still picture of the head."""
        u, v = self.to_face(x, y)
        # Only the jaw drops: hair beside the face and the head above the mouth stay.
        inward = smoothstep(-u.abs(), -66, -46)
        below = smoothstep(v, self.mouth_y - 8, self.face_length + 8)
        return u, v - self.tracks["jaw"] * JAW_DROP * inward * below

    def to_far(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """As `to_face` for what is behind the head (hair): it turns the other way."""
        u, v = self._unroll(x, y)
        return u + 0.15 * DEPTH * self.tracks["yaw"], v + 0.15 * DEPTH * self.tracks["pitch"]

    def to_body(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """As `to_face` for the shoulders, which follow the head a little."""
        t = self.tracks
        return x - 0.35 * POINTS * t["shift_x"] - PIVOT[0], y - 0.35 * POINTS * t["shift_y"]

    def centre(self, x: float, y: float) -> tuple[Tensor, Tensor]:
        """Where the face's point (x from the middle, y) lands in the frames: two vectors `[F]` in points."""
        t = {name: track.flatten() for name, track in self.tracks.items()}
        depth = max(0.0, 1 - (x / 92) ** 2 - ((y - 128) / 112) ** 2) * DEPTH
        u, v = x + t["yaw"] * depth, y + t["pitch"] * depth - PIVOT[1]
        cos, sin = torch.cos(t["roll"]), torch.sin(t["roll"])
        return (
            cos * u - sin * v + PIVOT[0] + POINTS * t["shift_x"],
            sin * u + cos * v + PIVOT[1] + POINTS * t["shift_y"],
        )

    def _unroll(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        t = self.tracks
        cos, sin = torch.cos(t["roll"]), torch.sin(t["roll"])
        dx = x - PIVOT[0] - POINTS * t["shift_x"]
        dy = y - PIVOT[1] - POINTS * t["shift_y"]
        return cos * dx + sin * dy, cos * dy - sin * dx + PIVOT[1]
