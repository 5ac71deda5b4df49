"""training/flite_voice.py: what flite says, and when."""

from __future__ import annotations

import numpy as np
import pytest

from avacast.engine.errors import Unavailable
from avacast.training.flite_voice import FliteVoice, phonemes_of_lines

needs_flite = pytest.mark.skipif(
    not FliteVoice("awb").is_installed, reason="flite is not installed (apt install flite)"
)


def test_phonemes_follow_each_other_through_all_sentences() -> None:
    """Every line is a sentence and counts from zero; in the track it begins where the last one ended."""
    first, second, third, fourth = phonemes_of_lines("pau:0.25 hh:0.5 \npau:0.125 iy:0.375 \n")

    assert [p.name for p in (first, second, third, fourth)] == ["", "h", "", "i"]
    assert (second.start_s, second.end_s) == (0.25, 0.5)
    assert (third.start_s, third.end_s) == (0.5, 0.625)
    assert fourth.end_s == 0.875


def test_without_the_program_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no Python package that was installed along with the rest."""
    monkeypatch.setenv("PATH", "")

    with pytest.raises(Unavailable, match="apt install flite"):
        FliteVoice("awb").speak("hello")


@needs_flite
@pytest.mark.parametrize("name", ["awb", "kal16"])
def test_the_phonemes_cover_the_sound(name: str) -> None:
    """Silence where a pause is marked, sound where a vowel is, and nearly the same length."""
    speech = FliteVoice(name).speak("A boat.")
    vowel = next(p for p in speech.phonemes if p.name == "oʊ")

    def loudness(start_s: float, end_s: float) -> float:
        rate_hz = speech.sample_rate_hz
        return float(np.abs(speech.samples[round(start_s * rate_hz) : round(end_s * rate_hz)]).mean())

    assert loudness(vowel.start_s, vowel.end_s) > 10 * loudness(0.0, 0.5 * speech.phonemes[0].end_s)
    assert speech.phonemes[-1].end_s == pytest.approx(speech.duration_s, abs=0.15)


@needs_flite
def test_a_stretched_voice_takes_longer() -> None:
    """As long as asked, phonemes and all."""
    plain, slow = (FliteVoice("awb", stretch).speak("A boat.") for stretch in (1.0, 1.5))

    assert slow.duration_s == pytest.approx(1.5 * plain.duration_s, rel=0.1)
    assert slow.phonemes[-1].end_s == pytest.approx(slow.duration_s, rel=0.1)
