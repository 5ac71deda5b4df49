from __future__ import annotations

import numpy as np
import pytest
import soxr

from avacast.engine.voice import Voice
from avacast.streaming.onset import SpeechOnset

RATE_HZ = 48_000
SLICE = 1_920


def spoken(text: str = "No, wait a moment please.") -> np.ndarray:
    speech = Voice().speak(text)
    return soxr.resample(speech.samples, speech.sample_rate_hz, RATE_HZ).astype(np.float32)


def noise(seconds: float, level_db: float) -> np.ndarray:
    samples = np.random.default_rng(0).standard_normal(round(seconds * RATE_HZ))
    return (10 ** (level_db / 20) * samples).astype(np.float32)


def onsets(sound: np.ndarray) -> list[float]:
    """Seconds at which an onset was noticed."""
    onset = SpeechOnset()
    slices = sound[: len(sound) // SLICE * SLICE].reshape(-1, SLICE)
    return [(index + 1) * SLICE / RATE_HZ for index, samples in enumerate(slices) if onset.push(samples)]


@pytest.mark.parametrize("room_db", [-90.0, -55.0, -42.0])
def test_speech_is_noticed_within_a_fifth_of_a_second_whatever_the_room(room_db: float):
    """Also above steady noise: a quiet room, an office, a street."""
    voice = spoken()
    start = RATE_HZ * 3
    sound = noise(3 + len(voice) / RATE_HZ + 0.1, room_db)
    sound[start : start + len(voice)] += 0.4 * voice / np.abs(voice).max()
    first = onsets(sound)[0]
    begins = np.flatnonzero(np.abs(voice) > 0.05 * np.abs(voice).max())[0] / RATE_HZ
    assert 3 + begins < first <= 3 + begins + 0.2


@pytest.mark.parametrize("level_db", [-100.0, -50.0, -35.0])
def test_a_room_by_itself_is_no_speech(level_db: float):
    """But for its beginning: loud noise that was always there is learned within ten seconds."""
    assert [moment for moment in onsets(noise(30, level_db)) if moment > 10] == []


def test_a_click_is_no_speech():
    sound = noise(4, -70)
    for moment in (1.0, 2.0, 3.0):
        start = round(moment * RATE_HZ)
        sound[start : start + 960] += 0.8
    assert onsets(sound) == []


def test_an_onset_is_told_once():
    """Somebody who goes on speaking has begun once; after a pause he begins again."""
    voice = spoken("one two three four")
    voice = 0.3 * voice / np.abs(voice).max()
    once = onsets(np.concatenate([noise(2, -70), voice]))
    twice = onsets(np.concatenate([noise(2, -70), voice, noise(2, -70), voice]))
    assert len(twice) >= len(once) + 1
    assert len(once) <= 4  # short pauses between words may count
