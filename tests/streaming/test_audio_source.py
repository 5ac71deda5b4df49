"""What the avatar says next."""

from __future__ import annotations

import numpy as np
import pytest

from avacast.engine.errors import Unavailable
from avacast.streaming.audio_source import MAX_DRY_S, MAX_SPEECH_S, MAX_UTTERANCES, AudioSource, Span
from avacast.streaming.utterance import Utterance


def microphone_on(source: AudioSource) -> None:
    source.microphone.push(np.full(9600, 0.5, np.float32), 0)


def spoken(samples: np.ndarray) -> Utterance:
    """An utterance that is all there."""
    utterance = Utterance("one")
    utterance.push(samples.astype(np.float32))
    utterance.end()
    return utterance


def test_silence_when_nobody_speaks():
    assert not AudioSource().take(1920).any()


def test_utterances_follow_each_other_and_end_in_silence():
    source = AudioSource()
    first, second = spoken(np.full(2000, 0.1)), spoken(np.full(1000, 0.2))
    source.say(first)
    source.say(second)
    taken = [source.take(1920)]
    assert source.spans == (Span(first, 0, 1920),)
    taken.append(source.take(1920))
    assert source.spans == (Span(first, 0, 80), Span(second, 80, 1080))
    expected = np.concatenate([np.full(2000, 0.1), np.full(1000, 0.2), np.zeros(840)])
    assert np.allclose(np.concatenate(taken), expected)
    assert source.speech_left_s == 0


def test_text_goes_before_the_microphone_which_does_not_pile_up():
    """What the microphone hears during an utterance is left out, not said after it."""
    source = AudioSource()
    microphone_on(source)
    source.say(spoken(np.full(1920, 0.1)))
    assert np.allclose(source.take(1920), 0.1)
    assert not source.hearing
    assert np.allclose(source.take(1920), 0.5)
    assert source.hearing
    assert source.microphone.buffered_samples == 9600 - 2 * 1920


def test_too_much_speech_is_refused_and_what_waits_is_kept():
    source = AudioSource()
    source.say(spoken(np.zeros(48_000)))
    with pytest.raises(Unavailable, match="let the avatar finish"):
        source.say(spoken(np.zeros(MAX_SPEECH_S * 48_000)))
    assert source.speech_left_s == 1.0


def test_too_many_utterances_are_refused():
    source = AudioSource()
    for _ in range(MAX_UTTERANCES):
        source.say(Utterance("short"))
    with pytest.raises(Unavailable, match="let the avatar finish"):
        source.say(Utterance("one more"))


def test_an_utterance_that_runs_dry_is_silence_until_it_goes_on():
    """Nothing else is said in between: what comes after it waits, and the microphone is not heard."""
    source = AudioSource()
    streamed, later = Utterance("streamed"), spoken(np.full(1920, 0.2))
    source.say(streamed)
    source.say(later)
    streamed.push(np.full(4800, 0.1, np.float32))
    taken = np.concatenate([source.take(1920) for _ in range(5)])
    assert np.allclose(taken, np.concatenate([np.full(4800, 0.1), np.zeros(4800)]))
    assert source.speaking
    streamed.push(np.full(1000, 0.1, np.float32))
    streamed.end()
    taken = np.concatenate([source.take(1920) for _ in range(2)])
    assert np.allclose(taken, np.concatenate([np.full(1000, 0.1), np.full(1920, 0.2), np.zeros(920)]))
    assert not source.take(1920).any()
    assert not source.speaking


def test_an_utterance_whose_sender_has_gone_does_not_hold_up_the_others():
    source = AudioSource()
    gone = Utterance("gone")
    source.say(gone)
    source.say(spoken(np.full(1920, 0.2)))
    num_slices = MAX_DRY_S * 25
    assert not np.concatenate([source.take(1920) for _ in range(num_slices)]).any()
    assert gone.was_cut
    assert np.allclose(source.take(1920), 0.2)


def test_clear_drops_all_speech_and_the_microphone_is_heard_again():
    source = AudioSource()
    microphone_on(source)
    source.say(spoken(np.full(9600, 0.1)))
    source.take(1920)
    source.clear()
    assert np.allclose(source.take(1920), 0.5)
    assert source.spans == ()
