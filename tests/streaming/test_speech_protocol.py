"""The speech websocket as a state machine."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avacast.streaming.speech_credit import HIGH_WATER_MS, MAX_WAITING_MS
from avacast.streaming.speech_messages import REPLY, Flow, Ready
from avacast.streaming.speech_protocol import (
    MAX_MESSAGE_BYTES,
    Begin,
    End,
    Interrupt,
    Leave,
    Sound,
    SpeechError,
    SpeechProtocol,
    TakeUp,
    Timed,
)
from avacast.streaming.tts import Word

START = '{"type":"start","sample_rate":24000,"utterance_id":"one"}'
FLUSH = '{"type":"flush"}'
WORDS = '{"type":"words","words":["Hello","there."],"start":[0,0.4],"end":[0.4,0.9]}'
CLEAR = '{"type":"clear"}'
CLOSE = '{"type":"close"}'

NONSENSE = {
    "empty": ("", "bad_message"),
    "not JSON": ("{", "bad_message"),
    "array": ("[]", "bad_message"),
    "text": ('"start"', "bad_message"),
    "null": ("null", "bad_message"),
    "no type": ("{}", "bad_message"),
    "unknown type": ('{"type":"stop"}', "bad_message"),
    "long type": (json.dumps({"type": "x" * 60_000}), "bad_message"),
    "unknown field": ('{"type":"flush","more":1}', "bad_message"),
    "long field": (json.dumps({"type": "flush", "x" * 60_000: 1}), "bad_message"),
    "deep": ("[" * 60_000, "bad_message"),
    "huge number": ('{"type":"start","sample_rate":' + "9" * 5_000 + "}", "bad_message"),
    "no rate": ('{"type":"start"}', "bad_message"),
    "rate as text": ('{"type":"start","sample_rate":"24000"}', "bad_message"),
    "rate as truth": ('{"type":"start","sample_rate":true}', "bad_message"),
    "broken rate": ('{"type":"start","sample_rate":24000.5}', "bad_message"),
    "not a number": ('{"type":"start","sample_rate":NaN}', "bad_message"),
    "empty name": ('{"type":"start","sample_rate":24000,"utterance_id":""}', "bad_message"),
    "long name": (json.dumps({"type": "start", "sample_rate": 24000, "utterance_id": "x" * 129}), "bad_message"),
    "rate 0": ('{"type":"start","sample_rate":0}', "bad_format"),
    "rate below 0": ('{"type":"start","sample_rate":-24000}', "bad_format"),
    "rate too low": ('{"type":"start","sample_rate":7999}', "bad_format"),
    "rate too high": ('{"type":"start","sample_rate":48001}', "bad_format"),
    "stereo": ('{"type":"start","sample_rate":24000,"channels":2}', "bad_format"),
    "float": ('{"type":"start","sample_rate":24000,"encoding":"pcm_f32le"}', "bad_format"),
    "long encoding": (json.dumps({"type": "start", "sample_rate": 24000, "encoding": "x" * 60_000}), "bad_format"),
    "audio before start": (b"\0\0", "not_started"),
    "flush before start": (FLUSH, "not_started"),
    "words before start": (WORDS, "not_started"),
    "words without times": ('{"type":"words","words":["a"],"start":[],"end":[]}', "bad_message"),
    "words before the beginning": ('{"type":"words","words":["a"],"start":[-1],"end":[0]}', "bad_message"),
    "words never": ('{"type":"words","words":["a"],"start":[NaN],"end":[Infinity]}', "bad_message"),
    "many words": (
        json.dumps({"type": "words", "words": ["a"] * 1025, "start": [0] * 1025, "end": [0] * 1025}),
        "bad_message",
    ),
    "long word": (json.dumps({"type": "words", "words": ["a" * 257], "start": [0], "end": [0]}), "bad_message"),
    "long text": (json.dumps({"type": "start", "sample_rate": 24000, "text": "x" * 10_001}), "bad_message"),
    "big text": (" " * (MAX_MESSAGE_BYTES + 1), "message_too_big"),
    "big audio": (bytes(MAX_MESSAGE_BYTES + 2), "message_too_big"),
}


@pytest.mark.parametrize(("message", "code"), NONSENSE.values(), ids=NONSENSE.keys())
def test_nonsense_gets_a_code_and_changes_nothing(message: str | bytes, code: str):
    """The answer says what is wrong, is short however long the message was, and the next start works."""
    protocol = SpeechProtocol()
    with pytest.raises(SpeechError) as refused:
        protocol.receive(message, 0)
    assert refused.value.code == code
    assert len(str(refused.value)) < 300
    assert protocol.receive(START, 0) == Begin("one", 24_000)
    assert protocol.receive(b"\1\2", 0) == Sound(b"\1\2")


@pytest.mark.parametrize(
    ("message", "code"),
    [(START, "already_started"), (b"\0\0\0", "bad_pcm"), (bytes(MAX_MESSAGE_BYTES + 1), "message_too_big")],
    ids=["second start", "half a sample", "big"],
)
def test_nonsense_within_an_utterance_does_not_end_it(message: str | bytes, code: str):
    protocol = SpeechProtocol()
    protocol.receive(START, 0)
    with pytest.raises(SpeechError) as refused:
        protocol.receive(message, 0)
    assert refused.value.code == code
    assert protocol.receive(b"\1\2", 0) == Sound(b"\1\2")
    assert protocol.receive(FLUSH, 0) == End()


def test_utterances_follow_each_other_on_one_connection():
    protocol = SpeechProtocol()
    for rate in (8_000, 16_000, 22_050, 44_100, 48_000):
        start = json.dumps({"type": "start", "sample_rate": rate, "channels": 1, "encoding": "pcm_s16le"})
        begin = protocol.receive(start, 0)
        assert isinstance(begin, Begin)
        assert begin.rate_hz == rate
        assert protocol.ready() == Ready(utterance_id=begin.utterance_id, limit_ms=HIGH_WATER_MS)
        assert protocol.receive(bytes(MAX_MESSAGE_BYTES), 0) == Sound(bytes(MAX_MESSAGE_BYTES))
        assert protocol.receive(FLUSH, 0) == End()
    assert protocol.utterance_id == "utterance-5"
    assert protocol.receive(CLOSE, 0) == Leave()


def test_after_a_clear_the_rest_of_the_utterance_is_dropped_without_complaint():
    """It was on its way when the interruption came; the next start is a new utterance."""
    protocol = SpeechProtocol()
    assert protocol.receive(CLEAR, 0) == Interrupt()
    protocol.receive(START, 0)
    assert protocol.receive(CLEAR, 0) == Interrupt()
    assert protocol.receive(b"\1\2", 0) is None
    assert protocol.receive(FLUSH, 0) is None
    protocol.receive(START, 0)
    protocol.cut()
    assert protocol.receive(b"\1\2", 0) is None
    assert protocol.receive(START, 0) == Begin("one", 24_000)


def test_what_is_said_may_be_told_with_the_start_or_word_by_word():
    """Times of words are in the shape of the speech services that tell them; those of a cut utterance are dropped."""
    protocol = SpeechProtocol()
    start = json.dumps({"type": "start", "sample_rate": 24_000, "utterance_id": "one", "text": "Hello there."})
    assert protocol.receive(start, 0) == Begin("one", 24_000, "Hello there.")
    assert protocol.receive(WORDS, 0) == Timed((Word("Hello", 0, 0.4), Word("there.", 0.4, 0.9)))
    protocol.receive(CLEAR, 0)
    assert protocol.receive(WORDS, 0) is None


def test_a_resume_is_handed_on_in_any_state():
    """Whether there is anything to take up is the session's to know."""
    protocol = SpeechProtocol()
    assert protocol.receive('{"type":"resume"}', 0) == TakeUp()
    protocol.receive(START, 0)
    protocol.receive(CLEAR, 0)
    assert protocol.receive('{"type":"resume"}', 0) == TakeUp()
    assert protocol.receive(b"\1\2", 0) is None


def test_far_beyond_the_credit_audio_is_refused_and_the_utterance_goes_on():
    protocol = SpeechProtocol()
    protocol.receive(START, 0)
    with pytest.raises(SpeechError, match="keep the limit") as refused:
        protocol.receive(bytes(48_000), MAX_WAITING_MS - 999)
    assert refused.value.code == "lead_exceeded"
    assert protocol.receive(bytes(48_000), MAX_WAITING_MS - 1_000) == Sound(bytes(48_000))


def test_the_limit_is_told_when_there_is_room_again():
    protocol = SpeechProtocol()
    assert protocol.flow(0) is None
    protocol.receive(START, 0)
    for _ in range(10):
        protocol.receive(bytes(48_000), 0)
    assert protocol.flow(10_000) is None
    assert protocol.flow(5_001) is None
    assert protocol.flow(5_000) == Flow(utterance_id="one", buffered_ms=5_000, limit_ms=15_000)
    assert protocol.flow(5_000) is None
    protocol.receive(FLUSH, 0)
    assert protocol.flow(0) is None


MESSAGES = st.one_of(
    st.sampled_from([START, WORDS, FLUSH, CLEAR, CLOSE, b"\0\0", b"\0"]),
    st.text(max_size=40),
    st.binary(max_size=40),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["type", "sample_rate", "x"]), inner),
        max_leaves=8,
    ).map(json.dumps),
)


@given(st.lists(st.tuples(MESSAGES, st.floats(0, 60_000)), max_size=30))
def test_whatever_comes_only_coded_refusals_escape(messages: list[tuple[str | bytes, float]]):
    """And sound is handed on only between a start and its end."""
    protocol = SpeechProtocol()
    open_utterance = False
    codes: set[str] = set()
    for message, buffered_ms in messages:
        try:
            action = protocol.receive(message, buffered_ms)
        except SpeechError as error:
            codes.add(error.code)
            continue
        if isinstance(action, Sound | Timed | End):
            assert open_utterance
        if action is not None and not isinstance(action, Sound | Timed):
            open_utterance = isinstance(action, Begin)
        flow = protocol.flow(buffered_ms)
        assert flow is None or REPLY.validate_json(flow.model_dump_json()) == flow
    assert codes <= {"bad_message", "bad_format", "bad_pcm", "not_started", "already_started", "lead_exceeded"}
