"""OpenAI's Realtime websocket used as a voice: one response per utterance, its sound in audio events.

Shapes: developers.openai.com, Realtime API, the names of general availability (`response.output_audio.delta`). The
model is asked to read the text aloud outside of any conversation; it is a language model and may not keep to it word
for word. Events name a response, not our utterance: the metadata of the response carries it there and back.
"""

from __future__ import annotations

import json
from typing import Any

from avacast.streaming.tts import Done, Event, Failure, read_json, read_pcm

DEFAULT_URL = "wss://api.openai.com"
DEFAULT_VOICE = "marin"
MODEL = "gpt-realtime"
RATE_HZ = 24_000
"""The only rate of `audio/pcm` there."""

INSTRUCTIONS = "Read the user's text aloud, word for word. Add nothing, leave nothing out, do not answer it."


class OpenAIRealtime:
    """Messages of `/v1/realtime`."""

    name = "openai"
    sample_rate_hz = RATE_HZ

    def __init__(self, key: str, voice: str = DEFAULT_VOICE, url: str = DEFAULT_URL) -> None:
        self.url = f"{url}/v1/realtime?model={MODEL}"
        self.headers = {"Authorization": f"Bearer {key}"}
        self._voice = voice
        self._utterances: dict[str, str] = {}
        self._responses: dict[str, str] = {}

    def greet(self) -> list[str]:
        self._utterances.clear()
        self._responses.clear()
        output = {"format": {"type": "audio/pcm", "rate": RATE_HZ}, "voice": self._voice}
        session = {
            "type": "realtime",
            "output_modalities": ["audio"],
            "instructions": INSTRUCTIONS,
            "audio": {"input": {"turn_detection": None}, "output": output},
        }
        return [json.dumps({"type": "session.update", "session": session})]

    def speak(self, utterance: str, text: str) -> list[str]:
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        response = {
            "conversation": "none",
            "metadata": {"utterance": utterance},
            "output_modalities": ["audio"],
            "input": [item],
        }
        return [json.dumps({"type": "response.create", "response": response})]

    def cancel(self, utterance: str) -> list[str]:
        response = self._responses.get(utterance)
        named = {"response_id": response} if response else {}
        return [json.dumps({"type": "response.cancel", **named})]

    def receive(self, message: str | bytes) -> list[Event]:
        parsed = read_json(self.name, message)
        match parsed.get("type"):
            case "response.created":
                self._note(parsed.get("response") or {})
                return []
            case "response.output_audio.delta":
                utterance = self._utterances.get(parsed.get("response_id") or "", "")
                return [Event(utterance, read_pcm(self.name, parsed.get("delta")))]
            case "response.done":
                return self._done(parsed.get("response") or {})
            case "error":
                return _failure(parsed.get("error") or {})
            case _:
                return []

    def _note(self, response: dict[str, Any]) -> None:
        utterance = str((response.get("metadata") or {}).get("utterance", ""))
        identifier = str(response.get("id", ""))
        self._utterances[identifier] = utterance
        self._responses[utterance] = identifier

    def _done(self, response: dict[str, Any]) -> list[Event]:
        utterance = self._utterances.pop(str(response.get("id", "")), "")
        self._responses.pop(utterance, None)
        if response.get("status") == "failed":
            reason = ((response.get("status_details") or {}).get("error") or {}).get("message")
            return [Event(utterance, Failure(str(reason or "the response failed")))]
        return [Event(utterance, Done())]


def _failure(error: dict[str, Any]) -> list[Event]:
    if error.get("code") == "response_cancel_not_active":
        return []  # what was to be stopped had ended already
    return [Event(None, Failure(str(error.get("message") or "no reason given")))]
