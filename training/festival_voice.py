"""Festival's voices, which are made of recordings of people: what they say, and when.

Festival and its voices are programs and data of their own, which Debian and Ubuntu package (`festival`, `festvox-*`).
Knows that program and its Scheme; knows no mouths.
"""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import tempfile
import wave
from dataclasses import dataclass, field

from avacast.engine.errors import Unavailable
from avacast.engine.voice import Speech
from avacast.training.phone_sets import US_ENGLISH, PhoneSet, marks_in, phonemes_of
from avacast.training.wave_file import read_wave

_SCHEME = """
(voice_{name})
(Parameter.set 'Duration_Stretch {stretch:.3f})
(let ((utterance (utt.synth (eval (list 'Utterance 'Text {text})))))
  (utt.save.wave utterance {path})
  (mapcar (lambda (segment) (format t "%s:%f " (item.name segment) (item.feat segment 'end)))
          (utt.relation.items utterance 'Segment)))
"""
_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class FestivalVoice:
    """One of the voices by its name, speaking `stretch` times as long as it would."""

    name: str
    package: str
    """What to install on Debian or Ubuntu."""
    phones: PhoneSet = field(hash=False)
    stretch: float = 1.0
    """Voices of HTS (upc_ca_ona_hts) keep their own pace whatever is asked."""

    @property
    def reads_english(self) -> bool:
        """Whether it knows how English is spelt; the others read letters as their own language does."""
        return self.phones is US_ENGLISH

    @property
    def is_installed(self) -> bool:
        """Whether there is a Festival that has this voice."""
        return self.name in installed_names()

    def speak(self, text: str) -> Speech:
        """Synthesises `text`. Raises Unavailable when Festival or the voice is missing or fails."""
        if not self.is_installed:
            raise Unavailable(f"this voice needs Festival; on Debian or Ubuntu: apt install festival {self.package}")
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            quoted = {"text": json.dumps(text), "path": json.dumps(file.name)}
            marks, error = _festival(_SCHEME.format(name=self.name, stretch=self.stretch, **quoted))
            try:
                samples, rate_hz = read_wave(file.name)
            except (wave.Error, EOFError):
                raise Unavailable(f"Festival failed at {text!r}: {error.strip() or 'no sound'}") from None
        return Speech(samples, rate_hz, phonemes_of(marks_in(marks), self.phones))


@functools.cache
def installed_names() -> frozenset[str]:
    """The voices that Festival has on this machine; none where there is no Festival."""
    if shutil.which("festival") is None:
        return frozenset()
    listed, _ = _festival('(mapcar (lambda (voice) (format t "%s " voice)) (voice.list))')
    return frozenset(listed.split())


def _festival(scheme: str) -> tuple[str, str]:
    """What Festival prints and complains of while it evaluates `scheme`."""
    command = [shutil.which("festival") or "festival", "--pipe"]
    # Bytes that are no UTF-8 are in complaints only: some voices speak Latin-1.
    done = subprocess.run(  # noqa: S603  # our own words
        command, input=scheme, capture_output=True, encoding="utf-8", errors="replace", timeout=_TIMEOUT_S, check=False
    )
    return done.stdout, done.stderr
