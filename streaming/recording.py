"""A recorded session on disk: everything that decides its frames, and their digest, so that it can be made again.

A folder of
    picture.png     the picture
    sound.wav       what the engine's session heard, float32, 16 kHz, mono, the silence before the stream included
    calls.jsonl     one line for each call that moved the session on, at which sample, and the digest of its frames
    session.json    model, seed, profile, precision, machine; at the end the number of frames and their SHA-256

While it is written the folder is called NAME.unfinished and renamed at the end. Each line is there before the next
call, so what a crash leaves behind is a recording of everything up to it. This module knows files; it knows no session
and makes no frame.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from avacast.engine.config import SAMPLE_RATE_HZ
from avacast.engine.errors import BadSetting
from avacast.engine.profile import Profile

FORMAT_VERSION = 1
PICTURE, SOUND, CALLS, SESSION = "picture.png", "sound.wav", "calls.jsonl", "session.json"

_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
_FLOAT_FORMAT = 3
_BYTES_PER_SAMPLE = 4
_UNKNOWN_LENGTH = 0xFFFF_FFFF
"""What the header of a WAV file says whose end is not known yet; players read to the end of the file."""


@dataclass(frozen=True)
class About:
    """What decides the frames of a session apart from picture, sound and calls."""

    model: str
    manifest_sha256: str
    """Of the bundle's manifest, which vouches for every weight."""
    seed: int
    profile: dict[str, Any]
    """`Profile.to_dict` of the profile in which the session began."""
    device: str
    precision: str
    """As `Precision` is written, like `bfloat16/float32`."""
    torch: str
    num_threads: int
    """Of torch on the CPU: it cuts sums by them, so their last bits differ."""
    cpu: str


@dataclass(frozen=True)
class Call:
    """One call of the session. A line of `calls.jsonl` leaves out what is None."""

    call: str
    """`pull`, `step` (one pass, in a batch perhaps), `flush`, `profile` (a change of it), or `interrupt`."""
    sample: int
    """Samples that had been pushed, those included that an interruption took back."""
    frames: int | None = None
    """How many frames it returned."""
    sha256: str | None = None
    """Of those frames, uint8 RGB one after the other."""
    profile: dict[str, Any] | None = None
    frame: int | None = None
    """To which an interruption went back."""


@dataclass(frozen=True)
class Recording:
    """A recording read from disk."""

    path: Path
    about: About
    picture: NDArray[np.uint8]
    """uint8 `[H, W, 3]`"""
    sound: NDArray[np.float32]
    """`[N]`, 16 kHz"""
    calls: tuple[Call, ...]
    num_frames: int
    sha256: str | None
    """Of all frames; None where the session crashed, and only the calls' own digests are known."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads the folder `path`, finished or not. Raises BadSetting when it is none or damaged."""
        if not any((path / name).is_file() for name in (PICTURE, SOUND, CALLS, SESSION)):
            raise BadSetting(
                f"there is no recording at {path}; `avacast serve --record` and `render --record` make them"
            )
        try:
            return cls._read(path)
        except (BadSetting, OSError, ValueError, KeyError, TypeError, SyntaxError, struct.error, zlib.error) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise BadSetting(f"the recording {path} is damaged ({reason}); copy it again") from error

    @classmethod
    def _read(cls, path: Path) -> Self:
        values = json.loads((path / SESSION).read_text(encoding="utf-8"))
        if values["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format version {values['format_version']}, this avacast reads {FORMAT_VERSION}")
        end = values["end"]
        sound = _read_sound(path / SOUND)
        calls = tuple(_read_calls(path / CALLS))
        num_frames = sum(call.frames or 0 for call in calls)
        last = max((call.sample for call in calls), default=0)
        if end is not None and (end["num_calls"], end["num_frames"]) != (len(calls), num_frames):
            raise ValueError(f"{CALLS} tells of {len(calls)} calls, {SESSION} of {end['num_calls']}")
        if last > len(sound):
            raise ValueError(f"{SOUND} ends after {len(sound)} samples, {CALLS} needs {last}")
        about = _about(values["about"])
        return cls(path, about, _read_picture(path / PICTURE), sound, calls, num_frames, end and end["sha256"])


def _about(values: dict[str, Any]) -> About:
    about = About(**values)
    for name, kind in get_type_hints(About).items():
        if not isinstance(getattr(about, name), get_origin(kind) or kind):
            raise ValueError(f"{SESSION} has {getattr(about, name)!r} for {name}")
    Profile.from_dict(about.profile)
    return about


def _read_calls(file: Path) -> list[Call]:
    lines = file.read_bytes().split(b"\n")
    # What follows the last line's end was being written when the session died.
    calls = [Call(**json.loads(line)) for line in lines[:-1]]
    for before, call in pairwise(calls):
        if call.sample < before.sample:
            raise ValueError(f"{file.name} goes back from sample {before.sample} to {call.sample}")
        if call.profile is not None:
            Profile.from_dict(call.profile)
    return calls


def _read_sound(file: Path) -> NDArray[np.float32]:
    content = file.read_bytes()
    known = _HEADER.unpack_from(content)
    if (known[0], known[2], known[5], known[6], known[7]) != (b"RIFF", b"WAVE", _FLOAT_FORMAT, 1, SAMPLE_RATE_HZ):
        raise ValueError(f"{file.name} is no mono float32 WAV file at 16 kHz")
    num_bytes = len(content) - _HEADER.size
    if known[-1] == _UNKNOWN_LENGTH:
        num_bytes -= num_bytes % _BYTES_PER_SAMPLE
    elif known[-1] != num_bytes:
        raise ValueError(f"{file.name} holds {num_bytes} bytes of sound, its header says {known[-1]}")
    samples = np.frombuffer(content, "<f4", num_bytes // _BYTES_PER_SAMPLE, _HEADER.size).astype(np.float32)
    if not np.isfinite(samples).all():
        raise ValueError(f"{file.name} holds samples that are no numbers")
    return samples


def _read_picture(file: Path) -> NDArray[np.uint8]:
    from PIL import Image

    with Image.open(file, formats=("PNG",)) as image:
        return np.array(image.convert("RGB"))


def wav_header(num_samples: int | None) -> bytes:
    """The header of the sound file; None where its length is not known yet."""
    num_bytes = _UNKNOWN_LENGTH if num_samples is None else num_samples * _BYTES_PER_SAMPLE
    riff = _UNKNOWN_LENGTH if num_samples is None else num_bytes + _HEADER.size - 8
    rate = (SAMPLE_RATE_HZ, SAMPLE_RATE_HZ * _BYTES_PER_SAMPLE, _BYTES_PER_SAMPLE, 8 * _BYTES_PER_SAMPLE)
    return _HEADER.pack(b"RIFF", riff, b"WAVE", b"fmt ", 16, _FLOAT_FORMAT, 1, *rate, b"data", num_bytes)
