"""Voices cut out of recorded people: flite's, with the times of their phonemes.

The embedded espeak-ng speaks with sounds that nobody uttered, so what learns from it alone hears real people badly.
flite's voices are made of recordings; it is a program of its own, which Debian and Ubuntu package. Knows that program
and its phonemes; knows no mouths.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass

import numpy as np
import soundfile

from avacast.engine.errors import Unavailable
from avacast.engine.voice import Phoneme, Speech

TRAINING_VOICES = ("awb", "kal16")
"""A Scot and an American; flite's others (slt, rms) are kept for the held-out set."""

_FLITE = "aa ae ah ao aw ax ay b ch d dh eh er ey f g hh ih iy jh k l m n ng ow oy p r s sh t th uh uw v w y z zh"
_IN_IPA = "ɑ æ ʌ ɔ aʊ ə aɪ b tʃ d ð ɛ ɜ eɪ f ɡ h ɪ i dʒ k l m n ŋ oʊ ɔɪ p ɹ s ʃ t θ ʊ u v w j z ʒ"
_IPA: dict[str, str] = dict(zip(_FLITE.split(), _IN_IPA.split(), strict=True))
"""The phonemes of US English as flite names them (CMU's, and `ax`)."""


def is_installed() -> bool:
    """Whether there is a flite to speak."""
    return shutil.which("flite") is not None


@dataclass(frozen=True)
class RecordedVoice:
    """One of flite's voices, speaking `stretch` times as long as it would."""

    name: str
    stretch: float = 1.0

    def speak(self, text: str) -> Speech:
        """Synthesises English `text`. Raises Unavailable when flite is missing or fails."""
        program = shutil.which("flite")
        if program is None:
            raise Unavailable("the recorded voices need flite; on Debian or Ubuntu: apt install flite")
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            setting = f"duration_stretch={self.stretch:.3f}"
            command = [program, "-voice", self.name, "--setf", setting, "-psdur", "-t", text, "-o", file.name]
            done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # our own words
            if done.returncode:
                raise Unavailable(f"flite failed: {done.stderr.strip() or done.returncode}")
            samples, rate_hz = soundfile.read(file.name, dtype="float32")
        return Speech(np.asarray(samples, np.float32), rate_hz, phonemes_of(done.stdout))


def phonemes_of(marks: str) -> tuple[Phoneme, ...]:
    """From a line for each sentence of `name:end`, in seconds of that sentence; an unknown name is a mouth at rest."""
    phonemes: list[Phoneme] = []
    for line in marks.splitlines():
        start_s = begins_s = phonemes[-1].end_s if phonemes else 0.0
        for mark in line.split():
            name, _, end_s = mark.rpartition(":")
            phonemes.append(Phoneme(_IPA.get(name, ""), start_s, start_s := begins_s + float(end_s)))
    return tuple(phonemes)
