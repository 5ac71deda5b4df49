"""ElevenLabs' multi-context websocket: one context per utterance, sound and character times in JSON.

Shapes: elevenlabs.io/docs/api-reference, text-to-speech, multi-stream-input. The end of a context is told only after
it was closed; one that was flushed before is spoken to its end all the same.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from avacast.streaming.caption_words import begins_word
from avacast.streaming.tts import Done, Event, Failure, Word, Words, read_json, read_pcm

DEFAULT_URL = "wss://api.elevenlabs.io"
DEFAULT_VOICE = "21m00Tcm4TlvDq8ikWAM"
MODEL = "eleven_flash_v2_5"
RATE_HZ = 24_000
BYTES_PER_S = 2 * RATE_HZ


class ElevenLabs:
    """Messages of `/v1/text-to-speech/{voice}/multi-stream-input`."""

    name = "elevenlabs"
    sample_rate_hz = RATE_HZ

    def __init__(self, key: str, voice: str = DEFAULT_VOICE, url: str = DEFAULT_URL) -> None:
        query = f"model_id={MODEL}&output_format=pcm_{RATE_HZ}&auto_mode=true&sync_alignment=true"
        self.url = f"{url}/v1/text-to-speech/{voice}/multi-stream-input?{query}"
        self.headers = {"xi-api-key": key}
        self._utterance = ""
        self._num_bytes = 0
        self._begun: Word | None = None
        """The word that the last message ended in; the next one may go on with it."""

    def greet(self) -> list[str]:
        return []

    def speak(self, utterance: str, text: str) -> list[str]:
        self._utterance, self._num_bytes, self._begun = utterance, 0, None
        messages: list[dict[str, Any]] = [
            {"text": " ", "context_id": utterance},
            {"text": f"{text} ", "context_id": utterance},
            {"context_id": utterance, "flush": True},
            {"context_id": utterance, "close_context": True},
        ]
        return [json.dumps(message) for message in messages]

    def cancel(self, utterance: str) -> list[str]:
        return [json.dumps({"context_id": utterance, "close_context": True})]

    def receive(self, message: str | bytes) -> list[Event]:
        parsed = read_json(self.name, message)
        utterance = parsed.get("contextId")
        if parsed.get("error") or parsed.get("code"):
            reason = parsed.get("message") or parsed.get("error") or "no reason given"
            return [Event(utterance, Failure(str(reason)))]
        if utterance not in (None, self._utterance):
            return []  # what is left of one that was stopped
        events: list[Event] = []
        words: list[Word] = []
        if parsed.get("audio"):
            pcm = read_pcm(self.name, parsed["audio"])
            words = self._words(parsed.get("alignment") or parsed.get("normalizedAlignment") or {})
            self._num_bytes += len(pcm.data)
            events.append(Event(utterance, pcm))
        ended = parsed.get("isFinal") or parsed.get("is_final")
        if ended and self._begun:
            words.append(self._begun)
            self._begun = None
        if words:
            events.append(Event(utterance, Words(tuple(words))))
        return [*events, Event(utterance, Done())] if ended else events

    def _words(self, alignment: dict[str, Any]) -> list[Word]:
        """Characters joined to the words that end here; their times begin at 0 in every message."""
        words: list[Word] = []
        offset_s = self._num_bytes / BYTES_PER_S
        columns = (alignment.get(name, ()) for name in ("chars", "charStartTimesMs", "charDurationsMs"))
        for char, start_ms, duration_ms in zip(*columns, strict=False):
            begun = self._begun
            joined = begun is not None and begins_word(begun.text, str(char))
            if begun and (joined or str(char).isspace()):
                words.append(begun)
                begun = self._begun = None
            if not str(char).isspace():
                begun = begun or Word("", offset_s + start_ms / 1000, 0.0, joined)
                end_s = offset_s + (start_ms + duration_ms) / 1000
                self._begun = replace(begun, text=begun.text + str(char), end_s=end_s)
        return words
