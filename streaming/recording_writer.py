"""The recording of a live session while it is written: beside its final name, line by line, bounded.

Knows files and their order on disk; what they mean is `recording`'s. Nothing here may end the session it records: a
disk that refuses later ends the recording, with a line in the log.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from avacast.engine.config import SAMPLE_RATE_HZ
from avacast.engine.errors import BadSetting, Unavailable
from avacast.engine.profile import Profile
from avacast.streaming.recording import CALLS, FORMAT_VERSION, PICTURE, SESSION, SOUND, About, Call, wav_header

log = logging.getLogger(__name__)

UNFINISHED = ".unfinished"

MAX_RECORDED_S = 3600
"""230 MB of sound. Policy beyond it: the recording ends there, whole and marked as cut; the session goes on."""


class RecordingWriter:
    """The unfinished folder of one session. Closed by the caller, or by itself when it is full or the disk refuses."""

    def __init__(self, path: Path, picture: NDArray[np.uint8], about: About) -> None:
        """Begins the recording `path` of a session with `picture`, uint8 `[H, W, 3]`.

        Raises BadSetting when something lies at `path`, Unavailable when the disk refuses.
        """
        from PIL import Image

        self.path = path
        self.num_samples = self.num_frames = self.num_calls = 0
        self._about = about
        self._digest = hashlib.sha256()
        self._open = True
        self._folder = path.with_name(path.name + UNFINISHED)
        if path.exists() or self._folder.exists():
            raise BadSetting(f"{path} is there already; record to another folder")
        try:
            self._folder.mkdir(parents=True)
            Image.fromarray(picture).save(self._folder / PICTURE)
            self._save_session(finished=False, cut=False)
            self._sound: IO[bytes] = (self._folder / SOUND).open("wb")
            self._sound.write(wav_header(None))
            self._calls: IO[bytes] = (self._folder / CALLS).open("wb")
        except OSError as error:
            raise Unavailable(f"{path} cannot be written ({error.strerror}); record to another folder") from error

    def push(self, samples: NDArray[np.float32]) -> None:
        """Sound `[N]` that the session is about to hear."""
        if self.num_samples + len(samples) > MAX_RECORDED_S * SAMPLE_RATE_HZ:
            self.close(cut=True)
        self.num_samples += len(samples)
        self._write(self._sound, np.ascontiguousarray(samples, "<f4").tobytes())

    def moved_on(self, call: str, images: Sequence[NDArray[np.uint8]]) -> None:
        """A call that may have made frames, `images` uint8 `[H, W, 3]` each."""
        if not self._open:
            return
        digest = hashlib.sha256() if images else None
        for image in images:
            content = np.ascontiguousarray(image).tobytes()
            self._digest.update(content)
            if digest is not None:
                digest.update(content)
        self.num_frames += len(images)
        self._note(Call(call, self.num_samples, len(images), digest.hexdigest() if digest else None))

    def flushed(self) -> None:
        self._note(Call("flush", self.num_samples))

    def profile_changed(self, profile: Profile) -> None:
        self._note(Call("profile", self.num_samples, profile=profile.to_dict()))

    def interrupted(self, frame: int) -> None:
        self._note(Call("interrupt", self.num_samples, frame=frame))

    def close(self, *, cut: bool = False) -> None:
        """Completes the recording and gives it its name; closing twice does nothing."""
        if not self._open:
            return
        self._open = False
        try:
            self._calls.close()
            self._sound.seek(0)
            self._sound.write(wav_header(self.num_samples))
            self._sound.close()
            self._save_session(finished=True, cut=cut)
            self._folder.rename(self.path)
        except OSError as error:
            log.warning("the recording %s could not be completed (%s)", self._folder, error.strerror)

    def _note(self, call: Call) -> None:
        self.num_calls += 1
        line = {name: value for name, value in asdict(call).items() if value is not None}
        self._write(self._calls, (json.dumps(line) + "\n").encode())

    def _write(self, stream: IO[bytes], content: bytes) -> None:
        """Writes through to the system, which keeps it if this process dies. A disk that refuses ends the recording."""
        if not self._open:
            return
        try:
            stream.write(content)
            stream.flush()
        except OSError as error:
            self._open = False
            for file in (self._sound, self._calls):
                with contextlib.suppress(OSError):
                    file.close()
            log.warning("the recording %s ends here (%s); the session goes on", self._folder, error.strerror)

    def _save_session(self, *, finished: bool, cut: bool) -> None:
        counts = {"num_calls": self.num_calls, "num_frames": self.num_frames}
        end = {**counts, "sha256": self._digest.hexdigest(), "cut": cut} if finished else None
        values = {"format_version": FORMAT_VERSION, "about": asdict(self._about), "end": end}
        part = self._folder / f"{SESSION}.part"
        part.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
        part.replace(self._folder / SESSION)
