"""ElevenLabs' messages, with plain values."""

from __future__ import annotations

import base64
import json

from avacast.streaming.tts import Done, Event, Failure, Pcm, Word, Words
from avacast.streaming.tts_elevenlabs import ElevenLabs

SECOND = bytes(48_000)


def audio(context: str, chars: str = "", starts: tuple[int, ...] = ()) -> str:
    alignment = {"chars": list(chars), "charStartTimesMs": list(starts), "charDurationsMs": [50] * len(chars)}
    data = base64.b64encode(SECOND).decode()
    return json.dumps({"audio": data, "contextId": context, "alignment": alignment if chars else None})


def test_where_and_with_what_key_it_connects():
    vendor = ElevenLabs("the key", "a-voice", "ws://here")
    assert vendor.url.startswith("ws://here/v1/text-to-speech/a-voice/multi-stream-input?model_id=")
    assert "output_format=pcm_24000" in vendor.url
    assert vendor.headers == {"xi-api-key": "the key"}
    assert vendor.greet() == []


def test_a_text_is_one_context_flushed_and_closed():
    assert [json.loads(message) for message in ElevenLabs("k").speak("u1", "Hello.")] == [
        {"text": " ", "context_id": "u1"},
        {"text": "Hello. ", "context_id": "u1"},
        {"context_id": "u1", "flush": True},
        {"context_id": "u1", "close_context": True},
    ]
    assert [json.loads(message) for message in ElevenLabs("k").cancel("u1")] == [
        {"context_id": "u1", "close_context": True}
    ]


def test_sound_and_words_whose_times_restart_in_every_message():
    vendor = ElevenLabs("k")
    vendor.speak("u1", "Hi you")
    words = (Word("Hi", 0.0, 0.15), Word("you", 0.3, 0.45))
    starts = (0, 100, 200, 300, 350, 400)
    assert vendor.receive(audio("u1", "Hi you", starts)) == [Event("u1", Pcm(SECOND)), Event("u1", Words(words))]
    later = tuple(Word(word.text, 1 + word.start_s, 1 + word.end_s) for word in words)
    assert vendor.receive(audio("u1", "Hi you", starts))[1] == Event("u1", Words(later))
    assert vendor.receive(audio("u1")) == [Event("u1", Pcm(SECOND))]


def test_the_end_of_a_context_in_both_spellings():
    assert ElevenLabs("k").receive('{"isFinal": true, "contextId": "u1"}') == [Event("u1", Done())]
    assert ElevenLabs("k").receive('{"is_final": true, "contextId": "u1"}') == [Event("u1", Done())]


def test_a_refusal_carries_its_reason():
    message = '{"message": "quota exceeded", "error": "quota_exceeded", "code": 1008}'
    assert ElevenLabs("k").receive(message) == [Event(None, Failure("quota exceeded"))]
