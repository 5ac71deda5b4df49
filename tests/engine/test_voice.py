"""The embedded voice: text in, speech with phoneme times out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest

from avacast.engine.errors import BadSetting, BadText
from avacast.engine.voice import MAX_TEXT_CHARS, Voice


def test_speech_is_audible_and_as_long_as_its_phonemes() -> None:
    """Samples are mono in [-1, 1]; phonemes are in order, without gaps, and end with the sound."""
    speech = Voice().speak("My mother bought a purple boat.")
    assert speech.sample_rate_hz == 22_050
    assert speech.samples.dtype == np.float32
    assert 0.1 < np.abs(speech.samples).max() <= 1.0
    assert all(a.end_s == b.start_s for a, b in zip(speech.phonemes, speech.phonemes[1:], strict=False))
    assert speech.phonemes[-1].end_s == pytest.approx(speech.duration_s, abs=0.02)


def test_phonemes_name_what_was_said() -> None:
    """The bilabials and rounded vowels of a sentence are there, where a mouth needs them."""
    names = [phoneme.name for phoneme in Voice().speak("My mother bought a purple boat.").phonemes]
    assert names[0] == "m"
    assert names.count("b") == 2
    assert names.count("p") == 2


def test_same_words_give_the_same_phonemes() -> None:
    """A voice is a value: speaking again, with other voices in between, gives the same phonemes at the same times.

    Samples differ in the last: espeak-ng carries the phase of its oscillators over, and has no way to reset it.
    """
    voice = Voice(variant="f3", rate_wpm=140)
    first = voice.speak("One two three.")
    Voice(variant="m2", pitch=20).speak("Something else.")
    again = voice.speak("One two three.")
    assert [p.name for p in first.phonemes] == [p.name for p in again.phonemes]
    assert [p.start_s for p in first.phonemes] == pytest.approx([p.start_s for p in again.phonemes], abs=0.005)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Oh, hello! My mother.", ["Oh,", "hello!", "My", "mother."]),
        ("It costs 25.3 euros,\n  Dr. Smith.", ["It", "costs", "25.3", "euros,", "Dr.", "Smith."]),
        ("Ich heiße “Ada” … ja – oder?", ["Ich", "heiße", "“Ada” …", "ja –", "oder?"]),
        ("– Well", ["– Well"]),
    ],
)
def test_words_are_told_as_they_were_written(text: str, words: list[str]) -> None:
    """With their punctuation, numbers as digits, in order, each until the next one and the last to the end; what is
    not spoken stands with the word before it.
    """
    speech = Voice().speak(text)
    assert [word.text for word in speech.words] == words
    assert all(a.end_s == b.start_s for a, b in pairwise(speech.words))
    assert all(word.start_s < word.end_s for word in speech.words)
    assert speech.words[-1].end_s == speech.duration_s


def test_a_word_begins_with_its_first_phoneme() -> None:
    speech = Voice().speak("My mother bought a purple boat.")
    begins = {word.text: word.start_s for word in speech.words}
    phonemes = [(phoneme.name, phoneme.start_s) for phoneme in speech.phonemes]
    assert begins["My"] == pytest.approx(phonemes[0][1], abs=0.01)
    for word, phoneme in (("bought", "b"), ("purple", "p")):
        assert begins[word] == pytest.approx(next(start_s for name, start_s in phonemes if name == phoneme), abs=0.06)


def test_threads_do_not_mix_their_words() -> None:
    """espeak-ng has one state per process; concurrent calls are served one after the other."""
    texts = [f"This is sentence number {i}." for i in range(6)]
    alone = [Voice().speak(text).phonemes for text in texts]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda text: Voice().speak(text).phonemes, texts))
    names = [[[p.name for p in phonemes] for phonemes in speeches] for speeches in (alone, together)]
    assert names[0] == names[1]


@pytest.mark.parametrize("text", ["", "  \n", "...", "-", "a" * (MAX_TEXT_CHARS + 1)])
def test_text_that_cannot_be_spoken_is_refused(text: str) -> None:
    """Nothing to say, or too much at once, is a BadText of one line."""
    with pytest.raises(BadText) as caught:
        Voice().speak(text)
    assert "\n" not in str(caught.value)


def test_an_unknown_voice_is_refused_and_the_next_one_speaks() -> None:
    """A wrong name is a BadSetting and leaves the library usable."""
    with pytest.raises(BadSetting, match="no voice"):
        Voice(language="nowhere").speak("Hello.")
    with pytest.raises(BadSetting, match="no variant 'zz'"):
        Voice(variant="zz").speak("Hello.")  # espeak-ng would take its plain voice and say nothing about it
    assert Voice().speak("Hello.").duration_s > 0.2


def test_variants_are_known_in_any_case() -> None:
    """`Whisper` whispers, though its file is called `whisper`."""
    plain, whispered, capital = (
        Voice(variant=name).speak("Hello there.").samples for name in ("", "whisper", "Whisper")
    )

    def hiss(samples: np.ndarray) -> float:
        return float(np.abs(np.diff(samples)).mean() / np.abs(samples).mean())

    assert hiss(whispered) > 1.5 * hiss(plain)
    assert hiss(capital) > 1.5 * hiss(plain)


@pytest.mark.parametrize("settings", [{"rate_wpm": 10}, {"pitch": 100}, {"pitch_range": -1}])
def test_numbers_out_of_range_are_refused(settings: dict[str, int]) -> None:
    """Rates and pitches that espeak-ng would silently clamp are a BadSetting."""
    with pytest.raises(BadSetting):
        Voice(**settings)  # type: ignore[arg-type]  # the table is of integers
