"""Deepgram's speak websocket: sound comes as binary messages that name no utterance.

Shapes: developers.deepgram.com, text-to-speech, streaming. Whose the sound is follows from the order: what was asked
for is complete at `Flushed`, and after `Clear` everything until `Cleared` belongs to what was stopped.
"""

from __future__ import annotations

import json

from avacast.streaming.tts import Done, Event, Failure, Pcm, read_json

DEFAULT_URL = "wss://api.deepgram.com"
DEFAULT_VOICE = "aura-2-thalia-en"
RATE_HZ = 24_000


class Deepgram:
    """Messages of `/v1/speak`."""

    name = "deepgram"
    sample_rate_hz = RATE_HZ

    def __init__(self, key: str, voice: str = DEFAULT_VOICE, url: str = DEFAULT_URL) -> None:
        self.url = f"{url}/v1/speak?model={voice}&encoding=linear16&sample_rate={RATE_HZ}"
        self.headers = {"Authorization": f"Token {key}"}
        self._num_uncleared = 0

    def greet(self) -> list[str]:
        self._num_uncleared = 0
        return []

    def speak(self, utterance: str, text: str) -> list[str]:  # noqa: ARG002  # the vendor knows no names
        return [json.dumps({"type": "Speak", "text": text}), json.dumps({"type": "Flush"})]

    def cancel(self, utterance: str) -> list[str]:  # noqa: ARG002  # as above
        self._num_uncleared += 1
        return [json.dumps({"type": "Clear"})]

    def receive(self, message: str | bytes) -> list[Event]:
        if isinstance(message, bytes):
            return [] if self._num_uncleared else [Event(None, Pcm(message))]
        parsed = read_json(self.name, message)
        match parsed.get("type"):
            case "Cleared":
                self._num_uncleared = max(0, self._num_uncleared - 1)
                return []
            case "Flushed":
                return [] if self._num_uncleared else [Event(None, Done())]
            case "Error":
                return [Event(None, Failure(str(parsed.get("description") or parsed.get("message") or "no reason")))]
            case _:
                return []
