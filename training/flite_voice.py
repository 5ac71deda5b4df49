"""flite's voices, which are made of recordings of people: what they say, and when.

flite is a program of its own, which Debian and Ubuntu package. Knows that program; knows no mouths.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass

from avacast.engine.errors import Unavailable
from avacast.engine.voice import Phoneme, Speech
from avacast.training.phone_sets import US_ENGLISH, marks_in, phonemes_of
from avacast.training.wave_file import read_wave


@dataclass(frozen=True)
class FliteVoice:
    """One of the voices by its name, speaking `stretch` times as long as it would."""

    name: str
    stretch: float = 1.0
    reads_english: bool = True

    @property
    def is_installed(self) -> bool:
        """Whether there is a flite to speak; it brings all its voices."""
        return shutil.which("flite") is not None

    def speak(self, text: str) -> Speech:
        """Synthesises English `text`. Raises Unavailable when flite is missing or fails."""
        program = shutil.which("flite")
        if program is None:
            raise Unavailable("this voice needs flite; on Debian or Ubuntu: apt install flite")
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            setting = f"duration_stretch={self.stretch:.3f}"
            command = [program, "-voice", self.name, "--setf", setting, "-psdur", "-t", text, "-o", file.name]
            done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # our own words
            if done.returncode:
                raise Unavailable(f"flite failed: {done.stderr.strip() or done.returncode}")
            samples, rate_hz = read_wave(file.name)
        return Speech(samples, rate_hz, phonemes_of_lines(done.stdout))


def phonemes_of_lines(lines: str) -> tuple[Phoneme, ...]:
    """From a line for each sentence of `name:end`, in seconds of that sentence."""
    phonemes: tuple[Phoneme, ...] = ()
    for line in lines.splitlines():
        start_s = phonemes[-1].end_s if phonemes else 0.0
        phonemes += phonemes_of(marks_in(line), US_ENGLISH, start_s)
    return phonemes
