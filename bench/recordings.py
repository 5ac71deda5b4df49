"""Recordings of people as clips of a held-out set: a voice and a portrait, and no truth.

Knows how a sound file becomes a clip. Recordings are not shipped: whoever has some names their folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from avacast.bench.held_out_clip import HeldOutClip
from avacast.engine.config import SAMPLE_RATE_HZ
from avacast.engine.errors import BadSetting
from avacast.streaming.audio_file import AudioFile

MAX_RECORDINGS = 10
MAX_RECORDING_S = 20
"""The rest of a longer one is left out."""
_SOUNDS = frozenset({".wav", ".flac", ".mp3", ".ogg", ".m4a"})


def recorded_clips(folder: Path, portraits: Sequence[HeldOutClip]) -> list[HeldOutClip]:
    """The longest `MAX_RECORDINGS` sound files below `folder`, spoken by the people of `portraits` in turn.

    Raises BadSetting when there are none, BadAudio for one that cannot be read.
    """
    files = [file for file in folder.rglob("*") if file.suffix.lower() in _SOUNDS]
    if not files:
        raise BadSetting(f"there is no sound file in {folder}; {', '.join(sorted(_SOUNDS))} are read")
    sounds = sorted(((AudioFile.open(file), file) for file in files), key=lambda pair: (-pair[0].duration_s, pair[1]))
    return [
        _spoken(sound, file, portraits[index % len(portraits)])
        for index, (sound, file) in enumerate(sounds[:MAX_RECORDINGS])
    ]


def _spoken(sound: AudioFile, file: Path, portrait: HeldOutClip) -> HeldOutClip:
    samples = np.concatenate([block.engine for block in sound.blocks()])[: MAX_RECORDING_S * SAMPLE_RATE_HZ]
    name = f"{file.parent.name}/{file.stem}"
    return replace(portrait, name=name, voice="a recording", recorded=True, samples=samples, phonemes=(), truth=None)
