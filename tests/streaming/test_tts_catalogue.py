"""Which speech services there are."""

from __future__ import annotations

import pytest

from avacast.engine.errors import BadSetting
from avacast.streaming.tts_catalogue import NAMES, tts_factory
from avacast.streaming.tts_client import TTSClient
from avacast.streaming.tts_espeak import EspeakTTS


@pytest.mark.parametrize("name", NAMES[1:])
def test_every_service_is_made_with_the_key_of_its_variable(name: str):
    make_tts = tts_factory(name, {f"{name.upper()}_API_KEY": "k"})
    first, second = make_tts(), make_tts()
    assert isinstance(first, TTSClient)
    assert first is not second
    assert first.sample_rate_hz == 24_000


@pytest.mark.parametrize("name", NAMES[1:])
@pytest.mark.parametrize("environment", [{}, {"KEY": "k"}, {"ELEVENLABS_API_KEY": " "}])
def test_a_missing_key_says_which_variable_to_set(name: str, environment: dict[str, str]):
    with pytest.raises(BadSetting, match=f"{name} needs a key; set the environment variable {name.upper()}_API_KEY"):
        tts_factory(name, environment)


def test_the_embedded_voice_needs_nothing():
    assert isinstance(tts_factory("espeak", {})(), EspeakTTS)
    with pytest.raises(BadSetting, match="embedded voice"):
        tts_factory("espeak", {}, voice="f3")


def test_an_unknown_name_lists_the_known():
    with pytest.raises(BadSetting, match="espeak, elevenlabs, cartesia, deepgram, rime, openai"):
        tts_factory("nobody", {})
