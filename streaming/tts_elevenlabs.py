"""ElevenLabs' multi-context websocket: one context per utterance, sound and character times in JSON.

Shapes: elevenlabs.io/docs/api-reference, text-to-speech, multi-stream-input. The end of a context is told only after
it was closed; one that was flushed before is spoken to its end all the same.
"""

from __future__ import annotations

import json
from typing import Any

from avacast.streaming.tts import Done, Event, Failure, Pcm, Word, Words, read_json, read_pcm

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
        self._num_bytes: dict[str, int] = {}

    def greet(self) -> list[str]:
        return []

    def speak(self, utterance: str, text: str) -> list[str]:
        self._num_bytes = {utterance: 0}
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
        events: list[Event] = []
        if parsed.get("audio"):
            pcm = read_pcm(self.name, parsed["audio"])
            offset_s = self._num_bytes.get(utterance or "", 0) / BYTES_PER_S
            events.append(Event(utterance, pcm))
            events += self._words(utterance, parsed.get("alignment"), offset_s)
            self._count(utterance, pcm)
        if parsed.get("isFinal") or parsed.get("is_final"):
            events.append(Event(utterance, Done()))
        return events

    def _count(self, utterance: str | None, pcm: Pcm) -> None:
        if utterance in self._num_bytes:
            self._num_bytes[utterance] += len(pcm.data)

    def _words(self, utterance: str | None, alignment: dict[str, Any] | None, offset_s: float) -> list[Event]:
        """Characters joined to words; their times begin at 0 in every message. A word split over two is two."""
        words: list[Word] = []
        text, start_s, end_s = "", 0.0, 0.0
        columns = alignment or {}
        times = zip(
            [*columns.get("chars", ()), " "],
            [*columns.get("charStartTimesMs", ()), 0],
            [*columns.get("charDurationsMs", ()), 0],
            strict=False,
        )
        for char, start_ms, duration_ms in times:
            if not str(char).isspace():
                start_s = start_s if text else offset_s + start_ms / 1000
                text, end_s = text + str(char), offset_s + (start_ms + duration_ms) / 1000
            elif text:
                words.append(Word(text, start_s, end_s))
                text = ""
        return [Event(utterance, Words(tuple(words)))] if words else []
