"""training/festival_voice.py: what Festival says, and when."""

from __future__ import annotations

import numpy as np
import pytest

from avacast.engine.errors import Unavailable
from avacast.engine.voice import Speech
from avacast.training.festival_voice import FestivalVoice
from avacast.training.phone_sets import ITALIAN, US_ENGLISH
from avacast.training.recorded_voice import installed_voices

FESTIVAL = [voice for voice in installed_voices() if isinstance(voice, FestivalVoice)]


def test_a_missing_voice_says_what_to_install() -> None:
    """The name of the package, for whoever has Festival but not this voice."""
    with pytest.raises(Unavailable, match="apt install festival festvox-nobody"):
        FestivalVoice("nobody", "festvox-nobody", ITALIAN).speak("pata")


def test_only_english_voices_read_english() -> None:
    """The others are given words that every language reads alike."""
    assert FestivalVoice("x", "y", US_ENGLISH).reads_english
    assert not FestivalVoice("x", "y", ITALIAN).reads_english


@pytest.mark.skipif(not FESTIVAL, reason="no voice of Festival is installed (apt install festival festvox-kdlpc16k)")
def test_the_sound_of_every_voice_follows_its_phonemes() -> None:
    """It has their length, is nearly silent in pauses, and its stops are far quieter than the vowels around them."""
    for voice in FESTIVAL:
        speech = voice.speak("papapa, papa.")

        def loudness(name: str, speech: Speech = speech) -> float:
            rate_hz = speech.sample_rate_hz
            spans = [(p.start_s, p.end_s) for p in speech.phonemes if p.name[:1] == name]
            return float(
                np.mean([np.abs(speech.samples[int(a * rate_hz) : int(b * rate_hz)]).mean() for a, b in spans])
            )

        assert "".join(p.name[:1] for p in speech.phonemes).startswith("p"), voice.name
        vowel = loudness("ɑ" if voice.reads_english else "a")
        assert loudness("p") < 0.5 * vowel, voice.name
        assert loudness("") < 0.2 * vowel, voice.name
        assert speech.phonemes[-1].end_s == pytest.approx(speech.duration_s, abs=0.1), voice.name
