"""A clip of the held-out set: a portrait, a voice, and what the head really did where that is known.

Knows the files that `avacast train held-out` writes; knows nothing of how they were drawn or what is made of them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from avacast.engine.colour_difference import Colours
from avacast.engine.config import SAMPLE_RATE_HZ
from avacast.engine.errors import BadSetting
from avacast.engine.face_reading import FaceBoxes, FaceReading
from avacast.engine.measures import Frames, Mask, Track
from avacast.engine.mouth import Box

HELD_OUT = Path(__file__).parent / "held_out"
"""The set that ships with the source."""


@dataclass(frozen=True)
class Truth:
    """What was read off the true frames. F frames, h x w cells of 8 x 8 pixels."""

    reading: FaceReading
    still_cells: Mask
    """`[h, w]`: where nothing moves."""
    face_box: Box
    still_difference: float
    """Mean frame difference in the still cells, in levels."""
    gradient_energy: float
    """Inside the face box."""
    colour_drift: float
    """Of the first to the last second, motion only."""
    colours: Colours
    """`[h, w, 3]`: the cells of the mean frame in L*a*b*."""

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self:
        reading = {name: np.array(track, np.float32) for name, track in values["reading"].items()}
        return cls(
            reading=FaceReading(**reading),
            still_cells=np.array([[cell == "#" for cell in row] for row in values["still_cells"]]),
            face_box=_box(values["face_box"]),
            still_difference=values["still_difference"],
            gradient_energy=values["gradient_energy"],
            colour_drift=values["colour_drift"],
            colours=np.array(values["colours"], np.float64),
        )

    @property
    def mouth_reading(self) -> Track:
        """`[F]`, what `mouth_opening` says of the true frames."""
        return self.reading.opening


@dataclass(frozen=True)
class Spoken:
    """One phoneme in IPA; names of pauses are empty."""

    name: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class HeldOutClip:
    """One clip, read whole."""

    name: str
    voice: str
    recorded: bool
    """Whether the voice is a person's: recorded, or made of recordings."""
    fps: int
    seed: int
    """Of the head's motion in the true frames: a session with it moves alike."""
    portrait: Frames
    """uint8 `[H, W, 3]`"""
    samples: NDArray[np.float32]
    """`[N]`, 16 kHz"""
    boxes: FaceBoxes
    eyes_closed: float
    """What `eye_opening` says of the portrait with its eyes shut."""
    phonemes: tuple[Spoken, ...]
    """Empty where the voice does not tell."""
    truth: Truth | None

    @classmethod
    def read(cls, description: Path) -> Self:
        """Reads a clip by its JSON file. Raises BadSetting where that lacks what is read today."""
        values = json.loads(description.read_text(encoding="utf-8"))
        try:
            return cls._of(values, description)
        except (KeyError, TypeError) as error:
            raise BadSetting(
                f"{description} is of another set; write it again with `avacast train held-out`"
            ) from error

    @classmethod
    def _of(cls, values: dict[str, Any], description: Path) -> Self:
        from avacast.engine.portrait import load_portrait
        from avacast.streaming.audio_file import AudioFile

        blocks = AudioFile.open(description.with_suffix(".flac")).blocks()
        return cls(
            name=description.stem,
            voice=values["voice"],
            recorded=values["recorded"],
            fps=values["fps"],
            seed=values.get("seed", 0),
            portrait=load_portrait(description.with_suffix(".png")),
            samples=np.concatenate([block.engine for block in blocks]),
            boxes=FaceBoxes(**{name: _box(box) for name, box in values["boxes"].items()}),
            eyes_closed=values["eyes_closed"],
            phonemes=tuple(Spoken(name.strip("_: "), start, end) for name, start, end in values["phonemes"]),
            truth=Truth.of(values["truth"]) if values["truth"] else None,
        )

    @property
    def mouth_box(self) -> Box:
        return self.boxes.mouth

    @property
    def num_frames(self) -> int:
        return round(len(self.samples) * self.fps / SAMPLE_RATE_HZ)


def read_held_out(folder: Path) -> list[HeldOutClip]:
    """All clips in `folder`, by name. Raises BadSetting when there are none."""
    clips = [HeldOutClip.read(file) for file in sorted(folder.glob("*.json"))]
    if not clips:
        raise BadSetting(f"there are no held-out clips in {folder}; `avacast train held-out` writes them")
    return clips


def _box(values: list[int]) -> Box:
    top, left, bottom, right = values
    return top, left, bottom, right
