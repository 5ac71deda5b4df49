"""A sound file as a stream of blocks: WAV, FLAC, MP3, Ogg and M4A, of any length at constant memory.

Every block comes twice: as the engine hears it (16 kHz, mono) and as a listener does (the file's own rate, one or two
channels). A file is read through once before it is used, so that damage is told before any work is done and the
length is known to the sample. Only local files are opened, never a playlist or an address.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from avacast.engine.config import SAMPLE_RATE_HZ
from avacast.engine.errors import BadAudio
from avacast.streaming.truncation import is_cut_short, states_length

if TYPE_CHECKING:
    import av
    from av.container import InputContainer

MAX_CHANNELS = 8
MIN_RATE_HZ, MAX_RATE_HZ = 4_000, 384_000

TRACK_RATES_HZ = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
"""Rates that the sound track of a video keeps; sound of another rate is brought to 48 kHz."""

_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": "wav,w64,flac,mp3,ogg,mov,aac"}
_FORMATS = "WAV, FLAC, MP3, Ogg and M4A"
_TOLERANCE_S = 0.05
"""Codecs pad and trim by less than this."""


@dataclass(frozen=True)
class AudioBlock:
    """A short stretch of sound, as two streams that cover the same time up to the resamplers' few samples of delay."""

    engine: NDArray[np.float32]
    """[N], 16 kHz, mono, in [-1, 1]."""
    heard: NDArray[np.float32]
    """[C, M] at the sound's own rate, in [-1, 1]."""


class Sound(Protocol):
    """What can be rendered: a sound file, or speech made from text."""

    @property
    def heard_rate_hz(self) -> int: ...
    @property
    def num_channels(self) -> int: ...
    @property
    def num_engine_samples(self) -> int: ...
    def blocks(self) -> Iterator[AudioBlock]: ...


@dataclass(frozen=True)
class AudioFile:
    """A sound file that was read through and found whole."""

    path: Path
    heard_rate_hz: int
    num_channels: int
    num_engine_samples: int
    """Length at 16 kHz."""

    @property
    def duration_s(self) -> float:
        return self.num_engine_samples / SAMPLE_RATE_HZ

    @classmethod
    def open(cls, path: Path | str) -> AudioFile:
        """Reads the file through. Raises BadAudio when it is missing, empty, cut short, damaged or holds no sound."""
        path = Path(path)
        _check_bytes(path)
        with _decoder(path) as container:
            stream = container.streams.audio[0]
            num_channels, rate_hz = stream.channels, stream.rate
            _check_layout(path, num_channels, rate_hz)
            declared_s = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
        heard_rate_hz = rate_hz if rate_hz in TRACK_RATES_HZ else 48_000
        file = cls(path, heard_rate_hz, num_channels if num_channels <= 2 else 1, 0)
        num_samples = sum(len(block.engine) for block in file.blocks())
        if num_samples == 0:
            raise BadAudio(f"{path} holds no sound at all; record it again")
        if states_length(path) and num_samples / SAMPLE_RATE_HZ < declared_s - _TOLERANCE_S:
            played_s = num_samples / SAMPLE_RATE_HZ
            raise BadAudio(f"{path} is cut short: {played_s:.1f} s of {declared_s:.1f} s are there; copy it again")
        return cls(path, heard_rate_hz, file.num_channels, num_samples)

    def blocks(self) -> Iterator[AudioBlock]:
        """Decodes the file from its beginning, block by block. Raises BadAudio where it is damaged."""
        import soxr
        from av import AudioResampler

        to_heard = AudioResampler(format="fltp", rate=self.heard_rate_hz)
        to_engine = soxr.ResampleStream(self.heard_rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32")
        with _decoder(self.path) as container:
            for frame in container.decode(container.streams.audio[0]):
                # Containers may begin at any time; what is played begins at zero.
                frame.pts = None
                heard = self._heard(to_heard.resample(frame))
                yield AudioBlock(to_engine.resample_chunk(_mono(heard)), heard)
            heard = self._heard(to_heard.resample(None))
            yield AudioBlock(to_engine.resample_chunk(_mono(heard), last=True), heard)

    def _heard(self, frames: list[av.AudioFrame]) -> NDArray[np.float32]:
        parts = [np.zeros((self.num_channels, 0), np.float32)]
        for frame in frames:
            channels = frame.to_ndarray().astype(np.float32, copy=False)
            # Stereo stays; of anything wider no listener's layout is known, so it is mixed into one.
            parts.append(channels if len(channels) == self.num_channels else channels.mean(axis=0, keepdims=True))
        samples = np.concatenate(parts, axis=1)
        if not np.isfinite(samples).all():
            raise BadAudio(f"{self.path} holds samples that are no numbers (NaN or infinite); export it again")
        return np.clip(samples, -1.0, 1.0)


def _mono(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    return samples.mean(axis=0).astype(np.float32)


def _check_bytes(path: Path) -> None:
    try:
        if not path.exists():
            raise BadAudio(f"there is no sound file at {path}; check the name")
        if not path.is_file():
            raise BadAudio(f"{path} is no file; name a sound file ({_FORMATS})")
        if path.stat().st_size == 0:
            raise BadAudio(f"{path} is empty; record or copy it again")
        if is_cut_short(path):
            raise BadAudio(f"{path} is cut short: it ends before its own header says; copy it again")
    except OSError as error:
        raise BadAudio(f"{path} cannot be read ({error.strerror}); check its rights") from error


def _check_layout(path: Path, num_channels: int, rate_hz: int) -> None:
    if not 1 <= num_channels <= MAX_CHANNELS:
        raise BadAudio(f"{path} has {num_channels} channels, at most {MAX_CHANNELS} are taken; mix it down to two")
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise BadAudio(f"{path} has {rate_hz} samples a second, not {MIN_RATE_HZ} to {MAX_RATE_HZ}; resample it")


@contextlib.contextmanager
def _decoder(path: Path) -> Generator[InputContainer]:
    """The opened file, on its first sound stream; whatever the decoder complains of inside becomes BadAudio."""
    import av
    from av.error import FFmpegError

    try:
        # With the protocol spelled out, no file name can be taken for an address.
        with av.open(f"file:{path.absolute()}", options=_OPTIONS) as container:
            if not container.streams.audio:
                raise BadAudio(f"{path} holds no sound track; name a sound file ({_FORMATS})")
            yield container
    except (FFmpegError, ValueError) as error:
        reason = error.strerror if isinstance(error, FFmpegError) else error
        raise BadAudio(f"{path} is damaged or no sound file ({reason}); {_FORMATS} are read") from error


def num_video_frames(num_engine_samples: int, samples_per_frame: int) -> int:
    """Frames that cover so much sound; the last may be covered in part."""
    return math.ceil(num_engine_samples / samples_per_frame)
