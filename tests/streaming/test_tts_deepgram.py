"""Deepgram's messages, with plain values."""

from __future__ import annotations

import json

from avacast.streaming.tts import Done, Event, Failure, Pcm
from avacast.streaming.tts_deepgram import Deepgram


def test_where_and_with_what_key_it_connects():
    vendor = Deepgram("the key", "a-voice", "ws://here")
    assert vendor.url == "ws://here/v1/speak?model=a-voice&encoding=linear16&sample_rate=24000"
    assert vendor.headers == {"Authorization": "Token the key"}
    assert vendor.greet() == []


def test_a_text_is_spoken_and_flushed():
    messages = [json.loads(message) for message in Deepgram("k").speak("u1", "Hello.")]
    assert messages == [{"type": "Speak", "text": "Hello."}, {"type": "Flush"}]


def test_sound_is_binary_and_ends_with_flushed():
    vendor = Deepgram("k")
    assert vendor.receive('{"type": "Metadata", "request_id": "r"}') == []
    assert vendor.receive(b"\1\2") == [Event(None, Pcm(b"\1\2"))]
    assert vendor.receive('{"type": "Flushed", "sequence_id": 0}') == [Event(None, Done())]


def test_what_comes_until_cleared_belongs_to_what_was_stopped():
    """Also when the next text has been asked for before."""
    vendor = Deepgram("k")
    assert json.loads(vendor.cancel("u1")[0]) == {"type": "Clear"}
    vendor.speak("u2", "Hello.")
    assert vendor.receive(b"\1\2") == []
    assert vendor.receive('{"type": "Flushed", "sequence_id": 0}') == []
    assert vendor.receive('{"type": "Cleared", "sequence_id": 0}') == []
    assert vendor.receive(b"\3\4") == [Event(None, Pcm(b"\3\4"))]


def test_a_new_connection_has_nothing_left_to_clear():
    vendor = Deepgram("k")
    vendor.cancel("u1")
    vendor.greet()
    assert vendor.receive(b"\1\2") == [Event(None, Pcm(b"\1\2"))]


def test_a_refusal_carries_its_reason_and_a_warning_is_none():
    error = '{"type": "Error", "description": "text too long", "code": "X"}'
    assert Deepgram("k").receive(error) == [Event(None, Failure("text too long"))]
    assert Deepgram("k").receive('{"type": "Warning", "description": "many flushes"}') == []
