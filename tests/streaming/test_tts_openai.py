"""OpenAI's Realtime audio events, with plain values."""

from __future__ import annotations

import base64
import json

from avacast.streaming.tts import Done, Event, Failure, Pcm
from avacast.streaming.tts_openai import OpenAIRealtime


def created(response: str, utterance: str) -> str:
    return json.dumps({"type": "response.created", "response": {"id": response, "metadata": {"utterance": utterance}}})


def delta(response: str, pcm: bytes) -> str:
    encoded = base64.b64encode(pcm).decode()
    return json.dumps({"type": "response.output_audio.delta", "response_id": response, "delta": encoded})


def done(response: str, **more: object) -> str:
    return json.dumps({"type": "response.done", "response": {"id": response, "status": "completed", **more}})


def test_where_and_with_what_key_it_connects():
    vendor = OpenAIRealtime("the key", url="ws://here")
    assert vendor.url.startswith("ws://here/v1/realtime?model=")
    assert vendor.headers == {"Authorization": "Bearer the key"}


def test_the_session_is_set_to_speak_and_not_to_listen():
    (message,) = OpenAIRealtime("k", "a-voice").greet()
    session = json.loads(message)["session"]
    assert session["output_modalities"] == ["audio"]
    assert session["audio"]["output"] == {"format": {"type": "audio/pcm", "rate": 24_000}, "voice": "a-voice"}
    assert session["audio"]["input"] == {"turn_detection": None}


def test_a_text_is_a_response_outside_of_the_conversation():
    (message,) = OpenAIRealtime("k").speak("u1", "Hello.")
    response = json.loads(message)["response"]
    assert (response["conversation"], response["metadata"]) == ("none", {"utterance": "u1"})
    assert response["input"][0]["content"] == [{"type": "input_text", "text": "Hello."}]


def test_sound_and_end_belong_to_the_utterance_of_their_response():
    vendor = OpenAIRealtime("k")
    assert vendor.receive('{"type": "session.created", "session": {}}') == []
    assert vendor.receive(created("r1", "u1")) == []
    assert vendor.receive(delta("r1", b"\1\2")) == [Event("u1", Pcm(b"\1\2"))]
    assert vendor.receive(created("r2", "u2")) == []
    assert vendor.receive(delta("r1", b"\3\4")) == [Event("u1", Pcm(b"\3\4"))]
    assert vendor.receive(done("r1")) == [Event("u1", Done())]
    assert vendor.receive(delta("r2", b"\5\6")) == [Event("u2", Pcm(b"\5\6"))]


def test_a_response_nobody_asked_for_is_not_taken_for_the_utterance():
    assert OpenAIRealtime("k").receive(delta("r9", b"\1\2")) == [Event("", Pcm(b"\1\2"))]


def test_a_stop_names_the_response_once_it_is_known():
    vendor = OpenAIRealtime("k")
    assert json.loads(vendor.cancel("u1")[0]) == {"type": "response.cancel"}
    vendor.receive(created("r1", "u1"))
    assert json.loads(vendor.cancel("u1")[0]) == {"type": "response.cancel", "response_id": "r1"}
    missed = '{"type": "error", "error": {"code": "response_cancel_not_active", "message": "none active"}}'
    assert vendor.receive(missed) == []


def test_a_refusal_carries_its_reason():
    vendor = OpenAIRealtime("k")
    error = '{"type": "error", "error": {"code": "invalid_value", "message": "no such voice"}}'
    assert vendor.receive(error) == [Event(None, Failure("no such voice"))]
    vendor.receive(created("r1", "u1"))
    failed = done("r1", status="failed", status_details={"error": {"message": "quota exceeded"}})
    assert vendor.receive(failed) == [Event("u1", Failure("quota exceeded"))]
