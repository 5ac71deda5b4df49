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
    starts = (0, 100, 200, 300, 350, 400, 450)
    assert vendor.receive(audio("u1", "Hi you ", starts)) == [Event("u1", Pcm(SECOND)), Event("u1", Words(words))]
    later = tuple(Word(word.text, 1 + word.start_s, 1 + word.end_s) for word in words)
    assert vendor.receive(audio("u1", "Hi you ", starts))[1] == Event("u1", Words(later))
    assert vendor.receive(audio("u1")) == [Event("u1", Pcm(SECOND))]


def test_a_word_that_is_split_over_two_messages_is_one():
    """It is told when its end is known: at the blank after it, or at the end of all."""
    vendor = ElevenLabs("k")
    vendor.speak("u1", "Hello you")
    assert vendor.receive(audio("u1", "Hel", (800, 900, 950))) == [Event("u1", Pcm(SECOND))]
    hello = Words((Word("Hello", 0.8, 1.1),))
    assert vendor.receive(audio("u1", "lo yo", (0, 50, 100, 400, 450)))[1] == Event("u1", hello)
    assert vendor.receive(audio("u1", "u", (0,))) == [Event("u1", Pcm(SECOND))]
    you = Words((Word("you", 1.4, 2.05),))
    assert vendor.receive('{"isFinal": true, "contextId": "u1"}') == [Event("u1", you), Event("u1", Done())]


def test_a_script_without_blanks_is_told_character_by_character():
    """Each in the message in which it ends, not all of them at the end of the sentence."""
    vendor = ElevenLabs("k")
    vendor.speak("u1", "你好，Ada。")
    told = vendor.receive(audio("u1", "你好，A", (0, 200, 400, 600)))[1]
    assert told == Event("u1", Words((Word("你", 0.0, 0.05), Word("好，", 0.2, 0.45, joined=True))))
    vendor.receive(audio("u1", "da。", (0, 50, 100)))
    ada = Words((Word("Ada。", 0.6, 1.15, joined=True),))
    assert vendor.receive('{"isFinal": true, "contextId": "u1"}') == [Event("u1", ada), Event("u1", Done())]


def test_words_are_read_from_the_normalised_text_where_there_is_no_other():
    vendor = ElevenLabs("k")
    vendor.speak("u1", "7 ")
    times = {"chars": list("seven "), "charStartTimesMs": [0] * 6, "charDurationsMs": [50] * 6}
    data = base64.b64encode(SECOND).decode()
    message = {"audio": data, "contextId": "u1", "alignment": None, "normalizedAlignment": times}
    assert vendor.receive(json.dumps(message))[1] == Event("u1", Words((Word("seven", 0.0, 0.05),)))


def test_what_is_left_of_a_context_that_was_stopped_means_nothing():
    """Its sound does not move the times of the next one, nor do its characters join that one's words."""
    vendor = ElevenLabs("k")
    vendor.speak("u1", "Hello")
    vendor.receive(audio("u1", "Hel", (0, 10, 20)))
    vendor.speak("u2", "you ")
    assert vendor.receive(audio("u1", "lo", (0, 10))) == []
    assert vendor.receive(audio("u2", "you ", (0, 10, 20, 70)))[1] == Event("u2", Words((Word("you", 0.0, 0.07),)))


def test_the_end_of_a_context_in_both_spellings():
    for spelling in ("isFinal", "is_final"):
        vendor = ElevenLabs("k")
        vendor.speak("u1", "Hi")
        assert vendor.receive(json.dumps({spelling: True, "contextId": "u1"})) == [Event("u1", Done())]


def test_a_refusal_carries_its_reason():
    message = '{"message": "quota exceeded", "error": "quota_exceeded", "code": 1008}'
    assert ElevenLabs("k").receive(message) == [Event(None, Failure("quota exceeded"))]
