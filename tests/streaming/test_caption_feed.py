"""The captions of one utterance, told as it is heard."""

from __future__ import annotations

import numpy as np

from avacast.streaming.caption_feed import CaptionFeed
from avacast.streaming.captions import Captions
from avacast.streaming.session_events import Event
from avacast.streaming.tts import Word
from avacast.streaming.utterance import Utterance

PACKET = 960


def heard(utterance: Utterance, num_packets: int) -> None:
    for _ in range(num_packets):
        utterance.hear(PACKET, 0.0)


def make(told: list[Event]) -> Utterance:
    """Two seconds in which two words are said, one a second."""
    captions = Captions("Hello there")
    captions.add([Word("Hello", 0.0, 1.0), Word("there", 1.0, 2.0)])
    utterance = Utterance("text-1", CaptionFeed(captions, told.append))
    utterance.push(np.zeros(100 * PACKET, np.float32))
    utterance.end()
    return utterance


def test_each_word_is_told_once_when_it_is_heard_and_then_the_end():
    told: list[Event] = []
    utterance = make(told)
    line = {"type": "caption", "utterance": "text-1", "words": ["Hello", "there"], "joined": []}
    heard(utterance, 49)
    assert told == [{**line, "num_heard": 1}]
    heard(utterance, 1)
    assert told[1:] == [{**line, "num_heard": 2}]
    heard(utterance, 50)
    assert told[2:] == [{"type": "caption_end", "utterance": "text-1", "interrupted": False}]


def test_what_is_cut_ends_at_once_and_the_rest_of_it_is_not_told():
    told: list[Event] = []
    utterance = make(told)
    heard(utterance, 10)
    utterance.cut()
    heard(utterance, 60)
    assert [event["type"] for event in told] == ["caption", "caption_end"]
    assert told[-1]["interrupted"]


def test_what_was_never_heard_is_not_told_at_all():
    told: list[Event] = []
    make(told).cut()
    assert told == []
