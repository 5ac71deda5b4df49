"""What the server and the worker process say to each other. Plain values only; both sides import this, neither torch.

Each message carries the session it is about; audio is numbered by slice, and frames carry the number of their slice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Open:
    """Begin a session with this picture, uint8 [H, W, 3]."""

    session: str
    picture: NDArray[np.uint8]
    seed: int


@dataclass(frozen=True)
class Audio:
    """Slice `number`, float32 [samples_per_frame] at 16 kHz. `position`: slices the viewer has heard (the credit)."""

    session: str
    number: int
    samples: NDArray[np.float32]
    position: int


@dataclass(frozen=True)
class Cut:
    """Unsay what was entered: silence from about slice `number` on; what is made from now on is of epoch `epoch`."""

    session: str
    epoch: int
    number: int


@dataclass(frozen=True)
class Close:
    session: str


@dataclass(frozen=True)
class Ready:
    """The model is loaded: its name, frame rate and frame size, and the number types it runs in (`Precision`)."""

    model: str
    fps: int
    height: int
    width: int
    precision: str


@dataclass(frozen=True)
class Failed:
    """The model could not be loaded; `exit_code` and `code` are those of the AvacastError."""

    code: str
    message: str
    exit_code: int


@dataclass(frozen=True)
class Opened:
    """The session runs. `familiar`: whether the model was made for pictures like its own (`Session.familiar`)."""

    session: str
    familiar: bool


@dataclass(frozen=True)
class Frames:
    """Frames uint8 [F, H, W, 3] made from the slices `numbers`, in `compute_s` seconds. `num_skipped`: see Lane.

    Frames of a new `epoch` take the place of earlier ones made from the same slices.
    """

    session: str
    epoch: int
    numbers: tuple[int, ...]
    images: NDArray[np.uint8]
    compute_s: float
    num_skipped: int


@dataclass(frozen=True)
class Ended:
    """The worker gave this session up."""

    session: str
    code: str
    message: str


@dataclass(frozen=True)
class Alive:
    """Sent at least once a second."""


Command = Open | Audio | Cut | Close
Event = Ready | Failed | Opened | Frames | Ended | Alive
