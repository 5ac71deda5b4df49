"""Cartesia's websocket: one context per utterance, sound and word times in JSON.

Shapes: docs.cartesia.ai, api-reference, tts, websocket.
"""

from __future__ import annotations

import json

from avacast.streaming.tts import Done, Event, Failure, read_json, read_pcm, read_words

DEFAULT_URL = "wss://api.cartesia.ai"
DEFAULT_VOICE = "a0e99841-438c-4a64-b679-ae501e7d6091"
MODEL = "sonic-3"
API_VERSION = "2025-04-16"
RATE_HZ = 24_000


class Cartesia:
    """Messages of `/tts/websocket`."""

    name = "cartesia"
    sample_rate_hz = RATE_HZ

    def __init__(self, key: str, voice: str = DEFAULT_VOICE, url: str = DEFAULT_URL) -> None:
        self.url = f"{url}/tts/websocket?cartesia_version={API_VERSION}"
        self.headers = {"X-API-Key": key}
        self._voice = voice

    def greet(self) -> list[str]:
        return []

    def speak(self, utterance: str, text: str) -> list[str]:
        request = {
            "model_id": MODEL,
            "transcript": text,
            "voice": {"mode": "id", "id": self._voice},
            "context_id": utterance,
            "continue": False,
            "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": RATE_HZ},
            "add_timestamps": True,
        }
        return [json.dumps(request)]

    def cancel(self, utterance: str) -> list[str]:
        return [json.dumps({"context_id": utterance, "cancel": True})]

    def receive(self, message: str | bytes) -> list[Event]:
        parsed = read_json(self.name, message)
        utterance = parsed.get("context_id")
        match parsed.get("type"):
            case "chunk":
                return [Event(utterance, read_pcm(self.name, parsed.get("data")))]
            case "timestamps":
                return [Event(utterance, read_words(parsed.get("word_timestamps") or {}))]
            case "done":
                return [Event(utterance, Done())]
            case "error":
                reason = parsed.get("message") or parsed.get("error") or parsed.get("title") or "no reason given"
                return [Event(utterance, Failure(str(reason)))]
            case _:
                return []
