"""Recordings of people that Debian packages: the prompts of telephone exchanges, letters and words for children.

Some forty speakers of thirty languages, two and a half hours in all. What they say is not told, or only by letters, so
they are of use to whoever needs no words (`self_training`). Knows files and sound.

The English, Spanish and French speakers of `asterisk-core-sounds` are left out: `avacast bench quality --recordings`
measures with them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avacast.engine.config import SAMPLE_RATE_HZ
from avacast.engine.sample_tail import Samples
from avacast.training.sound_track import decode_sound

log = logging.getLogger(__name__)

PACKAGES = (
    "asterisk-core-sounds-it-g722",
    "asterisk-core-sounds-ru-g722",
    "asterisk-prompt-it-menardi-wav",
    "asterisk-prompt-fr-armelle",
    "klettres-data",
    "ktuberling-data",
)
"""Debian's and Ubuntu's names of them."""

_FOLDERS = (
    "asterisk/sounds/it_IT_m_Carlo",
    "asterisk/sounds/ru_RU_f_IvrvoiceRU",
    "asterisk/sounds/it_IT_f_Menardi",
    "asterisk/sounds/fr",
    "klettres/*",
    "ktuberling/sounds/*",
)
"""Where their speakers are, a folder for each."""

_SUFFIXES = frozenset(".g722 .gsm .oga .ogg .opus .wav".split())
_NO_SPEECH = re.compile("silence|beep|tone|monkeys")
_MOST_FILES = 600
"""Of one speaker, so that nobody outweighs the others."""
_LEAST_S, _LEAST_PEAK = 0.2, 0.01
_PEAK = 0.5


@dataclass(frozen=True)
class Person:
    """One speaker, by the folder of his recordings."""

    name: str
    files: tuple[Path, ...]

    def sounds(self) -> Iterator[Samples]:
        """Each recording [N] at 16 kHz, equally loud; what is empty, silent or damaged is passed over."""
        for path in self.files:
            sound = _read(path)
            peak = float(np.abs(sound).max(initial=0.0))
            if len(sound) >= _LEAST_S * SAMPLE_RATE_HZ and peak > _LEAST_PEAK:
                yield sound * np.float32(_PEAK / peak)


def installed_people(share: Path = Path("/usr/share")) -> list[Person]:
    """Who is installed on this machine, or in another folder that is laid out like `share`."""
    people: list[Person] = []
    for folder in sorted(found for pattern in _FOLDERS for found in share.glob(pattern)):
        files = [path for path in sorted(folder.rglob("*")) if path.suffix in _SUFFIXES and not _is_noise(path, folder)]
        # Names like `sr@latin` are the same speaker in another alphabet.
        if files and "@" not in folder.name:
            people.append(Person(str(folder.relative_to(share)), tuple(files[:_MOST_FILES])))
    return people


def _is_noise(path: Path, folder: Path) -> bool:
    return bool(_NO_SPEECH.search(str(path.relative_to(folder))))


def _read(path: Path) -> Samples:
    import av
    from av.error import FFmpegError

    try:
        with av.open(f"file:{path.absolute()}", options={"protocol_whitelist": "file"}) as container:
            sound, _ = decode_sound(container)
    except (FFmpegError, IndexError) as error:
        log.warning("%s is passed over: %s", path, error)
        return np.zeros(0, np.float32)
    return sound - sound.mean() if len(sound) else sound
