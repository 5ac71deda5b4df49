"""What the avatar says next."""

from __future__ import annotations

import numpy as np
import pytest

from avacast.engine.errors import Unavailable
from avacast.streaming.audio_source import MAX_SPEECH_S, AudioSource


def microphone_on(source: AudioSource) -> None:
    source.microphone.push(np.full(9600, 0.5, np.float32), 0)


def test_silence_when_nobody_speaks():
    assert not AudioSource().take(1920).any()


def test_utterances_follow_each_other_and_end_in_silence():
    source = AudioSource()
    source.say(np.full(2000, 0.1, np.float32))
    source.say(np.full(1000, 0.2, np.float32))
    taken = np.concatenate([source.take(1920), source.take(1920)])
    expected = np.concatenate([np.full(2000, 0.1), np.full(1000, 0.2), np.zeros(840)])
    assert np.allclose(taken, expected)
    assert source.speech_left_s == 0


def test_text_goes_before_the_microphone_which_does_not_pile_up():
    """What the microphone hears during an utterance is left out, not said after it."""
    source = AudioSource()
    microphone_on(source)
    source.say(np.full(1920, 0.1, np.float32))
    assert np.allclose(source.take(1920), 0.1)
    assert not source.hearing
    assert np.allclose(source.take(1920), 0.5)
    assert source.hearing
    assert source.microphone.buffered_samples == 9600 - 2 * 1920


def test_too_much_speech_is_refused_and_what_waits_is_kept():
    source = AudioSource()
    source.say(np.zeros(48_000, np.float32))
    with pytest.raises(Unavailable, match="let the avatar finish"):
        source.say(np.zeros(MAX_SPEECH_S * 48_000, np.float32))
    assert source.speech_left_s == 1.0
