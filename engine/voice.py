"""Text in, speech with the times of its words and phonemes out: the embedded espeak-ng, through ctypes.

`espeakng-loader` carries the library and its data, so nothing else is installed. This module knows the C interface
(espeak-ng's `speak_lib.h`); it knows nothing of mouths, models or playback. espeak-ng keeps one state per process, so
calls are serialised by a lock and every call sets all its settings anew.
"""

from __future__ import annotations

import ctypes
import functools
import re
import threading
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avacast.engine.errors import BadSetting, BadText, Unavailable

MAX_TEXT_CHARS = 5_000
"""Bound of one utterance: about six minutes of speech."""

_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_PHONEME_EVENTS_IN_IPA = 0b11
_CHARS_UTF8 = 1
_PARAMETER_RATE, _PARAMETER_PITCH, _PARAMETER_RANGE = 1, 3, 4
_EVENT_LIST_TERMINATED, _EVENT_WORD, _EVENT_PHONEME = 0, 1, 7
_OK = 0


@dataclass(frozen=True)
class Phoneme:
    """One phoneme of an utterance: IPA name (empty or `_` is a pause), start and end in seconds."""

    name: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class SpokenWord:
    """A word as it was written, with its punctuation, and when it is heard, in seconds."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Speech:
    """One spoken utterance: mono samples in [-1, 1] and the phonemes that cover them; `words` where they are known."""

    samples: NDArray[np.float32]
    sample_rate_hz: int
    phonemes: tuple[Phoneme, ...]
    words: tuple[SpokenWord, ...] = ()

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.sample_rate_hz


@dataclass(frozen=True)
class Voice:
    """A way of speaking: language, variant of the voice (`f3`, `m7`, a name), words per minute, pitch and its range.

    Raises BadSetting when a number is out of espeak-ng's range.
    """

    language: str = "en-us"
    variant: str = ""
    rate_wpm: int = 165
    pitch: int = 50
    pitch_range: int = 50

    def __post_init__(self) -> None:
        if not 80 <= self.rate_wpm <= 450:
            raise BadSetting(f"rate {self.rate_wpm} words per minute is outside 80 to 450")
        for name, value in (("pitch", self.pitch), ("pitch range", self.pitch_range)):
            if not 0 <= value <= 99:
                raise BadSetting(f"{name} {value} is outside 0 to 99")

    def speak(self, text: str) -> Speech:
        """Synthesises `text` (plain UTF-8, no mark-up).

        Raises BadText for text that is empty, too long or has nothing to say; BadSetting for an unknown voice.
        """
        if not text.strip():
            raise BadText("there is no text to speak; type a sentence")
        if len(text) > MAX_TEXT_CHARS:
            raise BadText(f"the text has {len(text)} characters; at most {MAX_TEXT_CHARS} are spoken at once")
        speech = _library().synthesise(self, text.replace("\0", " "))
        if not speech.words:
            raise BadText("the text holds nothing that can be spoken; type some words")
        return speech


class _EventId(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@functools.cache
def _library() -> _Library:
    return _Library()


class _Library:
    """The loaded espeak-ng of this process: one lock, one callback kept alive for the C side."""

    def __init__(self) -> None:
        try:
            import espeakng_loader

            self._lib = ctypes.CDLL(espeakng_loader.get_library_path())
            data_path = Path(espeakng_loader.get_data_path())
        except (ImportError, OSError) as error:
            raise Unavailable(f"the embedded voice cannot be loaded ({error}); reinstall espeakng-loader") from error
        self._lock = threading.Lock()
        self._variants = {path.name.lower(): path.name for path in (data_path / "voices" / "!v").glob("*")}
        self._pcm = bytearray()
        self._marks: list[tuple[int, str]] = []
        self._word_marks: list[tuple[int, int]] = []
        self._callback = _Callback(self._collect)
        self.sample_rate_hz = self._lib.espeak_Initialize(
            _AUDIO_OUTPUT_SYNCHRONOUS, 0, str(data_path).encode(), _INITIALIZE_PHONEME_EVENTS_IN_IPA
        )
        if self.sample_rate_hz <= 0:
            raise Unavailable("the embedded voice did not start; reinstall espeakng-loader")
        self._lib.espeak_SetSynthCallback(self._callback)

    def synthesise(self, voice: Voice, text: str) -> Speech:
        with self._lock:
            self._apply(voice)
            self._pcm.clear()
            self._marks.clear()
            self._word_marks.clear()
            encoded = text.encode()
            status = self._lib.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, _CHARS_UTF8, None, None)
            if status != _OK:
                raise Unavailable(f"the embedded voice failed with status {status}")
            samples = np.frombuffer(bytes(self._pcm), dtype=np.int16).astype(np.float32) / 32768.0
            duration_s = len(samples) / self.sample_rate_hz
            words = spoken_words(text, self._word_marks, duration_s)
            return Speech(samples, self.sample_rate_hz, self._phonemes(duration_s), words)

    def _apply(self, voice: Voice) -> None:
        # espeak-ng speaks plainly where it does not know the variant, and says nothing about it.
        variant = self._variants.get(voice.variant.lower(), "")
        if voice.variant and not variant:
            raise BadSetting(f"there is no variant {voice.variant!r} of the voice; try f3, m7 or whisper")
        name = f"{voice.language}+{variant}" if variant else voice.language
        if self._lib.espeak_SetVoiceByName(name.encode()) != _OK:
            raise BadSetting(f"there is no voice {name!r}; try en-us, en or en-us+f3")
        self._lib.espeak_SetParameter(_PARAMETER_RATE, voice.rate_wpm, 0)
        self._lib.espeak_SetParameter(_PARAMETER_PITCH, voice.pitch, 0)
        self._lib.espeak_SetParameter(_PARAMETER_RANGE, voice.pitch_range, 0)

    def _collect(self, wav: object, num_samples: int, events: object) -> int:
        # Called by the C side, in the thread that holds the lock; returning 0 asks for more.
        if wav and num_samples:
            self._pcm += ctypes.string_at(wav, num_samples * 2)  # type: ignore[arg-type]  # ctypes pointers are untyped
        index = 0
        while (event := events[index]).type != _EVENT_LIST_TERMINATED:  # type: ignore[index]
            if event.type == _EVENT_PHONEME:
                self._marks.append((event.audio_position, event.id.string.decode(errors="replace")))
            elif event.type == _EVENT_WORD:
                self._word_marks.append((event.audio_position, event.text_position - 1))
            index += 1
        return 0

    def _phonemes(self, duration_s: float) -> tuple[Phoneme, ...]:
        starts = [position_ms / 1000.0 for position_ms, _ in self._marks]
        ends = [*starts[1:], duration_s]
        return tuple(
            Phoneme(name, start, max(start, end))
            for (_, name), start, end in zip(self._marks, starts, ends, strict=True)
        )


def spoken_words(text: str, marks: list[tuple[int, int]], duration_s: float) -> tuple[SpokenWord, ...]:
    """The words of `text` as written, timed by `marks`: position in the sound in ms, position in the text.

    espeak-ng speaks "25.3" as several words and "said," without its comma; what stands between blanks is one word
    here, and lasts until the next one begins. A word that no mark falls into is not spoken, but shown with the one
    before it.
    """
    written = list(re.finditer(r"\S+", text))
    begins = [word.start() for word in written]
    starts_s: dict[int, float] = {}
    for position_ms, position in sorted(marks):
        starts_s.setdefault(max(0, bisect_right(begins, position) - 1), position_ms / 1000)
    if not starts_s:
        return ()
    spoken = sorted(starts_s)
    firsts = [0, *spoken[1:]]  # what is written before the first word that is spoken is shown with it
    return tuple(
        SpokenWord(" ".join(word[0] for word in written[first:stop]), starts_s[word], max(starts_s[word], end_s))
        for first, word, stop, end_s in zip(
            firsts,
            spoken,
            [*spoken[1:], len(written)],
            [*(starts_s[word] for word in spoken[1:]), duration_s],
            strict=True,
        )
    )
