"""What every vendor's mapper has in common."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avacast.streaming.tts import Event, SpeechServiceError, Vendor, read_events
from avacast.streaming.tts_cartesia import Cartesia
from avacast.streaming.tts_deepgram import Deepgram
from avacast.streaming.tts_elevenlabs import ElevenLabs
from avacast.streaming.tts_openai import OpenAIRealtime
from avacast.streaming.tts_rime import Rime

VENDORS = (ElevenLabs, Cartesia, Deepgram, Rime, OpenAIRealtime)
KEYS = """type data audio contextId context_id alignment chars charStartTimesMs charDurationsMs isFinal word_timestamps
words start end response id metadata response_id delta error message""".split()
TYPES = """chunk timestamps done error response.created response.output_audio.delta response.done Flushed Cleared
Error""".split()

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.sampled_from(TYPES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=10,
)


@pytest.mark.parametrize("make", VENDORS)
@given(st.dictionaries(st.sampled_from(KEYS), VALUES), st.sampled_from(TYPES))
def test_whatever_a_server_sends_it_is_events_or_one_error(make: type[Vendor], message: dict[str, object], kind: str):
    vendor = make("k")
    vendor.speak("u1", "Hello.")
    with contextlib.suppress(SpeechServiceError):
        events = read_events(vendor, json.dumps({**message, "type": kind}))
        assert all(isinstance(event, Event) for event in events)


@pytest.mark.parametrize("make", VENDORS)
@pytest.mark.parametrize("message", ["", "{", "[]", "1", "[" * 100_000], ids=["empty", "{", "[]", "1", "deep"])
def test_what_is_not_an_object_is_refused(make: type[Vendor], message: str):
    with pytest.raises(SpeechServiceError, match="is the address right"):
        read_events(make("k"), message)
