"""Rime's JSON websocket: one context per utterance, sound and word times in JSON.

Shapes: docs.rime.ai, websockets (ws3). Word times restart in every message, so they are moved by what came before.
"""

from __future__ import annotations

import json

from avacast.streaming.tts import Done, Event, Failure, Word, Words, read_json, read_pcm, read_words

DEFAULT_URL = "wss://users-ws.rime.ai"
DEFAULT_VOICE = "astra"
MODEL = "arcana"
RATE_HZ = 24_000


class Rime:
    """Messages of `/ws3`."""

    name = "rime"
    sample_rate_hz = RATE_HZ

    def __init__(self, key: str, voice: str = DEFAULT_VOICE, url: str = DEFAULT_URL) -> None:
        self.url = f"{url}/ws3?speaker={voice}&modelId={MODEL}&audioFormat=pcm&samplingRate={RATE_HZ}"
        self.headers = {"Authorization": f"Bearer {key}"}
        self._words_end_s: dict[str, float] = {}

    def greet(self) -> list[str]:
        return []

    def speak(self, utterance: str, text: str) -> list[str]:
        self._words_end_s = {utterance: 0.0}
        return [json.dumps({"text": f"{text} ", "contextId": utterance}), json.dumps({"operation": "flush"})]

    def cancel(self, utterance: str) -> list[str]:  # noqa: ARG002  # what waits is dropped, whatever it is called
        return [json.dumps({"operation": "clear"})]

    def receive(self, message: str | bytes) -> list[Event]:
        parsed = read_json(self.name, message)
        utterance = parsed.get("contextId")
        match parsed.get("type"):
            case "chunk":
                return [Event(utterance, read_pcm(self.name, parsed.get("data")))]
            case "timestamps":
                return [Event(utterance, self._moved(utterance, read_words(parsed.get("word_timestamps") or {})))]
            case "done":
                return [Event(utterance, Done())]
            case "error":
                return [Event(utterance, Failure(str(parsed.get("message") or "no reason given")))]
            case _:
                return []

    def _moved(self, utterance: str | None, words: Words) -> Words:
        offset_s = self._words_end_s.get(utterance or "", 0.0)
        moved = tuple(Word(word.text, offset_s + word.start_s, offset_s + word.end_s) for word in words.words)
        if moved and utterance in self._words_end_s:
            self._words_end_s[utterance] = moved[-1].end_s
        return Words(moved)
