"""Which speech services there are, by the name that `avacast serve --tts` takes, and where each finds its key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from avacast.engine.errors import BadSetting
from avacast.streaming.tts import TTS, Vendor
from avacast.streaming.tts_cartesia import Cartesia
from avacast.streaming.tts_client import TTSClient
from avacast.streaming.tts_deepgram import Deepgram
from avacast.streaming.tts_elevenlabs import ElevenLabs
from avacast.streaming.tts_espeak import EspeakTTS
from avacast.streaming.tts_openai import OpenAIRealtime
from avacast.streaming.tts_rime import Rime

EMBEDDED = "espeak"


class _MakeVendor(Protocol):
    def __call__(self, key: str, voice: str = ..., url: str = ...) -> Vendor: ...


@dataclass(frozen=True)
class _Entry:
    make: _MakeVendor
    key_variable: str


_VENDORS = {
    "elevenlabs": _Entry(ElevenLabs, "ELEVENLABS_API_KEY"),
    "cartesia": _Entry(Cartesia, "CARTESIA_API_KEY"),
    "deepgram": _Entry(Deepgram, "DEEPGRAM_API_KEY"),
    "rime": _Entry(Rime, "RIME_API_KEY"),
    "openai": _Entry(OpenAIRealtime, "OPENAI_API_KEY"),
}

NAMES = (EMBEDDED, *_VENDORS)


def tts_factory(name: str, environment: Mapping[str, str], *, voice: str = "", url: str = "") -> Callable[[], TTS]:
    """What makes a service for each session. `voice` and `url` replace the vendor's defaults.

    Raises BadSetting for an unknown name, or when the environment lacks the key.
    """
    if name == EMBEDDED:
        if voice or url:
            raise BadSetting("the embedded voice takes neither --tts-voice nor --tts-url; name a service with --tts")
        return EspeakTTS
    if name not in _VENDORS:
        raise BadSetting(f"there is no speech service {name!r}; choose one of {', '.join(NAMES)}")
    entry = _VENDORS[name]
    key = environment.get(entry.key_variable, "").strip()
    if not key:
        raise BadSetting(f"{name} needs a key; set the environment variable {entry.key_variable}")
    chosen = {option: value for option, value in (("voice", voice), ("url", url.rstrip("/"))) if value}
    return lambda: TTSClient(entry.make(key, **chosen))
