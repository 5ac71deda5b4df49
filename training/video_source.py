"""A video file to learn from: upright RGB pictures at a fixed rate and size, and its sound at 16 kHz.

Knows containers, time stamps and rotation; streams pictures one by one, so that length costs no memory. Knows no
masks, no latents and no model. PyAV is imported when a file is opened: the rest of training needs none of it.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from avacast.engine.config import SAMPLE_RATE_HZ
from avacast.engine.errors import BadVideo
from avacast.engine.reference import prepare_portrait
from avacast.engine.sample_tail import Samples
from avacast.training.sound_track import decode_sound

if TYPE_CHECKING:
    import av
    from av.container import InputContainer

VIDEO_SUFFIXES = frozenset(
    ".3gp .avi .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .webm .wmv".split()  # containers with sound
)
"""What counts as a video in a folder; PyAV decides by the content whether it is one."""

_OPTIONS = {"protocol_whitelist": "file"}


@dataclass(frozen=True)
class VideoSource:
    """A video file whose tracks were looked through, but not yet decoded."""

    path: Path
    start_s: float
    """Time stamp of the first picture; sound is cut or filled to begin with it."""
    duration_s: float
    has_sound: bool

    @classmethod
    def open(cls, path: Path) -> VideoSource:
        """Reads the time stamps of all pictures. Raises BadVideo for a file that is missing, damaged or no video."""
        with _opened(path) as container:
            stream = container.streams.video[0]
            unit_s = float(stream.time_base or 0)
            usual_s = float(1 / stream.average_rate) if stream.average_rate else 0.0
            times: list[tuple[float, float]] = []
            for packet in container.demux(stream):
                stamp = packet.dts if packet.pts is None else packet.pts
                if stamp is not None and not packet.is_discard:
                    begins_s = stamp * unit_s
                    times.append((begins_s, begins_s + ((packet.duration or 0) * unit_s or usual_s)))
            if not times:
                raise BadVideo(f"{path} holds no pictures; record it again")
            start_s = min(begins for begins, _ in times)
            return cls(path, start_s, max(ends for _, ends in times) - start_s, bool(container.streams.audio))

    def num_frames(self, fps: float) -> int:
        """Pictures that `pictures` gives at that rate."""
        return _num_middles(self.duration_s, fps)

    def pictures(self, height: int, width: int, fps: float) -> Iterator[Tensor]:
        """All pictures in order, float32 `[3, height, width]` in 0..1, the centre cut out as from a portrait.

        Picture k is the one shown at the middle of its time, (k + 1/2) / fps. Raises BadVideo where the file is
        damaged.
        """
        num_frames, slot = self.num_frames(fps), 0
        shown: av.VideoFrame | None = None
        for frame, ends_s in self._frames():
            shown = frame
            stop = min(num_frames, _num_middles(ends_s - self.start_s, fps))
            if slot < stop:
                picture = prepare_portrait(_upright(frame), height, width)
                while slot < stop:
                    yield picture
                    slot += 1
        if slot < num_frames and shown is not None:
            picture = prepare_portrait(_upright(shown), height, width)
            for _ in range(slot, num_frames):
                yield picture

    def upright_size(self) -> tuple[int, int]:
        """Height and width as shown. Raises BadVideo where the first picture is damaged."""
        for frame, _ in self._frames():
            height, width = _upright(frame).shape[:2]
            return height, width
        raise BadVideo(f"{self.path} holds no picture that can be decoded; copy it again")

    def sound(self) -> Samples:
        """The sound from the first picture on, float32 `[N]`, mono at 16 kHz. Raises BadVideo."""
        with _opened(self.path) as container:
            samples, begins_s = decode_sound(container)
        if begins_s is None:
            raise BadVideo(f"{self.path} has a sound track without any sound; record it again")
        late = round((begins_s - self.start_s) * SAMPLE_RATE_HZ)
        return np.pad(samples, (late, 0)) if late > 0 else samples[-late:]

    def _frames(self) -> Iterator[tuple[av.VideoFrame, float]]:
        """Decoded pictures, each with the time at which the next one replaces it; the last has none after it."""
        with _opened(self.path) as container:
            before: av.VideoFrame | None = None
            for frame in container.decode(container.streams.video[0]):
                if before is not None:
                    yield before, float(frame.time or 0.0)
                before = frame
            if before is not None:
                yield before, self.start_s + self.duration_s


def _num_middles(seconds: float, fps: float) -> int:
    """How many of the times (k + 1/2) / fps lie before `seconds`; a hair's breadth is put down to rounding."""
    return max(0, math.ceil(seconds * fps - 0.5 - 1e-6))


def _upright(frame: av.VideoFrame) -> np.ndarray:
    """RGB uint8 [H, W, 3], turned as a player turns it: phones store upright films lying on their side."""
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90)))


@contextlib.contextmanager
def _opened(path: Path) -> Generator[InputContainer]:
    """The opened file, which has pictures; whatever the decoder complains of inside becomes BadVideo."""
    import av
    from av.error import FFmpegError

    try:
        # With the protocol spelled out, no file name can be taken for an address.
        with av.open(f"file:{path.absolute()}", options=_OPTIONS) as container:
            if not container.streams.video:
                raise BadVideo(f"{path} holds no pictures; name a video file")
            container.streams.video[0].thread_type = "AUTO"
            yield container
    except (FFmpegError, ValueError) as error:
        reason = error.strerror if isinstance(error, FFmpegError) else error
        raise BadVideo(f"{path} is damaged or no video ({reason}); copy or convert it again") from error
