"""Rime's messages, with plain values."""

from __future__ import annotations

import base64
import json

from avacast.streaming.tts import Done, Event, Failure, Pcm, Word, Words
from avacast.streaming.tts_rime import Rime


def timestamps(context: str) -> str:
    times = {"words": ["one", "two"], "start": [0.0, 0.5], "end": [0.25, 0.75]}
    return json.dumps({"type": "timestamps", "word_timestamps": times, "contextId": context})


def test_where_and_with_what_key_it_connects():
    vendor = Rime("the key", "a-voice", "ws://here")
    assert vendor.url.startswith("ws://here/ws3?speaker=a-voice&modelId=")
    assert "audioFormat=pcm&samplingRate=24000" in vendor.url
    assert vendor.headers == {"Authorization": "Bearer the key"}
    assert vendor.greet() == []


def test_a_text_is_sent_and_flushed_and_what_waits_can_be_cleared():
    messages = [json.loads(message) for message in Rime("k").speak("u1", "Hello.")]
    assert messages == [{"text": "Hello. ", "contextId": "u1"}, {"operation": "flush"}]
    assert json.loads(Rime("k").cancel("u1")[0]) == {"operation": "clear"}


def test_sound_and_end():
    data = base64.b64encode(b"\1\2").decode()
    message = json.dumps({"type": "chunk", "data": data, "contextId": "u1"})
    assert Rime("k").receive(message) == [Event("u1", Pcm(b"\1\2"))]
    assert Rime("k").receive('{"type": "done", "contextId": "u1"}') == [Event("u1", Done())]
    assert Rime("k").receive('{"type": "something new"}') == []


def test_word_times_go_on_over_messages():
    vendor = Rime("k")
    vendor.speak("u1", "one two one two")
    assert vendor.receive(timestamps("u1")) == [Event("u1", Words((Word("one", 0.0, 0.25), Word("two", 0.5, 0.75))))]
    assert vendor.receive(timestamps("u1")) == [Event("u1", Words((Word("one", 0.75, 1.0), Word("two", 1.25, 1.5))))]


def test_a_refusal_carries_its_reason():
    assert Rime("k").receive('{"type": "error", "message": "no such speaker"}') == [
        Event(None, Failure("no such speaker"))
    ]
