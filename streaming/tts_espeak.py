"""The embedded espeak-ng as a speech service: no key, no network, all of an utterance at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import numpy as np

from avacast.engine.voice import Speech, Voice
from avacast.streaming.tts import Pcm, Word, Words

RATE_HZ = 22_050
"""What espeak-ng synthesises at."""


class EspeakTTS:
    """espeak-ng behind the interface of every other service."""

    sample_rate_hz = RATE_HZ

    def __init__(self, voice: Voice | None = None) -> None:
        self._voice = voice or Voice()

    async def speak(self, text: str) -> AsyncGenerator[Pcm | Words]:
        speech = await asyncio.to_thread(self._voice.speak, text)
        assert speech.sample_rate_hz == RATE_HZ, f"espeak-ng speaks at {speech.sample_rate_hz} Hz"
        yield Words(tuple(Word(word.text, word.start_s, word.end_s) for word in speech.words))
        yield Pcm(_pcm16(speech))

    async def aclose(self) -> None:
        return


def _pcm16(speech: Speech) -> bytes:
    return np.rint(speech.samples * 32_768).clip(-32_768, 32_767).astype("<i2").tobytes()
