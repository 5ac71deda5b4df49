"""How far each utterance has been heard."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from avacast.streaming.audio_source import AudioSource, Span
from avacast.streaming.playback import Playback
from avacast.streaming.utterance import Utterance

SLICE = 1920
PACKET = 960


def utterance_of(num_samples: int, name: str = "a") -> Utterance:
    utterance = Utterance(name)
    utterance.push(np.zeros(num_samples, np.float32))
    utterance.end()
    return utterance


def test_only_what_has_left_counts():
    playback = Playback()
    utterance = utterance_of(2500)
    playback.begin(utterance)
    playback.enter(7, (Span(utterance, 100, 1920),))
    playback.enter(8, (Span(utterance, 0, 680),))
    assert utterance.num_heard == 0
    playback.leave(7, 0, PACKET, 0)
    assert utterance.num_heard == 860
    playback.leave(7, PACKET, SLICE, PACKET)
    assert utterance.num_heard == 1820
    assert playback.current is utterance
    playback.leave(8, 0, PACKET, SLICE)
    assert utterance.finished
    assert playback.current is None


def test_a_slice_that_was_skipped_as_silence_counts_as_heard():
    playback = Playback()
    utterance = utterance_of(3 * SLICE)
    playback.begin(utterance)
    for number in range(3):
        playback.enter(number, (Span(utterance, 0, SLICE),))
    playback.leave(0, 0, PACKET, 0)
    playback.leave(0, PACKET, SLICE, PACKET)
    playback.leave(2, 0, PACKET, SLICE)
    assert utterance.num_heard == 2 * SLICE + PACKET


def test_the_start_is_told_with_the_media_time_of_its_first_sample():
    started: list[float] = []

    class Listener:
        def on_started(self, utterance: Utterance, pts_s: float) -> None:
            assert utterance.name == "a"
            started.append(pts_s)

        def on_heard(self, utterance: Utterance) -> None:
            assert utterance.num_heard

        def on_finished(self, utterance: Utterance, interrupted: bool) -> None:
            assert (utterance.name, interrupted) == ("a", True)

    playback = Playback()
    utterance = Utterance("a", Listener())
    utterance.push(np.zeros(SLICE, np.float32))
    playback.begin(utterance)
    playback.enter(0, (Span(utterance, 1440, SLICE),))
    playback.leave(0, 0, PACKET, 48_000)
    assert started == []
    playback.leave(0, PACKET, SLICE, 48_960)
    assert started == [1 + 1440 / 48_000]
    playback.cut()
    assert utterance.was_cut


@given(st.lists(st.integers(1, 7000), max_size=6), st.integers(0, 5), st.integers(0, 20))
def test_every_utterance_finishes_once_and_in_order(lengths: list[int], delay: int, slices_before_cut: int):
    """However they lie in the slices, and wherever a cut falls: heard whole and in turn, or told of the cut."""
    source, playback = AudioSource(), Playback()
    utterances = [utterance_of(length, str(index)) for index, length in enumerate(lengths)]
    for utterance in utterances:
        source.say(utterance)
        playback.begin(utterance)
    for number in range(slices_before_cut):
        source.take(SLICE)
        playback.enter(number, source.spans)
        for start in (0, PACKET) if number >= delay else ():
            playback.leave(number - delay, start, start + PACKET, (number - delay) * SLICE + start)
    heard = max(0, slices_before_cut - delay) * SLICE
    source.clear()
    playback.cut()
    starts = np.cumsum([0, *lengths])[:-1]
    expected = [int(np.clip(heard - start, 0, length)) for start, length in zip(starts, lengths, strict=True)]
    assert [utterance.num_heard for utterance in utterances] == expected
    assert [utterance.was_cut for utterance in utterances] == [h < n for h, n in zip(expected, lengths, strict=True)]
    assert all(utterance.finished for utterance in utterances)
