"""The embedded voice as a speech service."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from avacast.engine.errors import BadText
from avacast.engine.voice import Voice
from avacast.streaming.tts import Pcm, Words
from avacast.streaming.tts_espeak import EspeakTTS


async def speak(text: str) -> bytes:
    return b"".join([piece.data async for piece in EspeakTTS().speak(text) if isinstance(piece, Pcm)])


def test_it_says_what_the_voice_says():
    """As long and as loud; espeak-ng itself differs by a few samples from call to call."""
    expected = Voice().speak("Hello there.").samples
    samples = np.frombuffer(asyncio.run(speak("Hello there.")), "<i2") / 32_768
    assert len(samples) == pytest.approx(len(expected), rel=0.01)
    assert np.abs(samples).max() == pytest.approx(np.abs(expected).max(), rel=0.05)


def test_the_times_of_its_words_come_before_its_sound():
    async def scenario() -> None:
        first, *sound = [piece async for piece in EspeakTTS().speak("One, two.")]
        assert isinstance(first, Words)
        assert [word.text for word in first.words] == ["One,", "two."]
        assert all(isinstance(piece, Pcm) for piece in sound)

    asyncio.run(scenario())


def test_what_cannot_be_spoken_is_refused():
    with pytest.raises(BadText, match="no text"):
        asyncio.run(speak("  "))
