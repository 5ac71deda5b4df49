"""Cartesia's messages, with plain values."""

from __future__ import annotations

import base64
import json

from avacast.streaming.tts import Done, Event, Failure, Pcm, Word, Words
from avacast.streaming.tts_cartesia import Cartesia


def receive(**message: object) -> list[Event]:
    return Cartesia("k").receive(json.dumps({"context_id": "u1", **message}))


def test_where_and_with_what_key_it_connects():
    vendor = Cartesia("the key", url="ws://here")
    assert vendor.url.startswith("ws://here/tts/websocket?cartesia_version=")
    assert vendor.headers == {"X-API-Key": "the key"}
    assert vendor.greet() == []


def test_a_text_is_one_request():
    (message,) = Cartesia("k", "a-voice").speak("u1", "Hello.")
    request = json.loads(message)
    assert (request["transcript"], request["context_id"], request["continue"]) == ("Hello.", "u1", False)
    assert request["voice"] == {"mode": "id", "id": "a-voice"}
    assert request["output_format"] == {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24_000}
    assert json.loads(Cartesia("k").cancel("u1")[0]) == {"context_id": "u1", "cancel": True}


def test_sound_words_and_end():
    data = base64.b64encode(b"\1\2\3\4").decode()
    assert receive(type="chunk", data=data, done=False) == [Event("u1", Pcm(b"\1\2\3\4"))]
    timestamps = {"words": ["Hello", "world"], "start": [0, 0.5], "end": [0.4, 0.9]}
    expected = Words((Word("Hello", 0.0, 0.4), Word("world", 0.5, 0.9)))
    assert receive(type="timestamps", word_timestamps=timestamps) == [Event("u1", expected)]
    assert receive(type="done", done=True) == [Event("u1", Done())]


def test_what_does_not_matter_is_nothing():
    assert receive(type="flush_done", flush_id=1) == []
    assert receive(type="phoneme_timestamps", phoneme_timestamps={}) == []


def test_a_refusal_carries_its_reason_in_both_shapes():
    assert receive(type="error", title="Invalid model", message="no such model") == [
        Event("u1", Failure("no such model"))
    ]
    assert receive(type="error", error="bad voice") == [Event("u1", Failure("bad voice"))]
