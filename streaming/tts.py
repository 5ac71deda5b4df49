"""Speech services: text in, pieces of PCM and the times of words out. What a service has to be, and what it gives.

Two kinds fill this interface: a voice in this process (`tts_espeak`) and a service behind a websocket (`tts_client`
driven by one of the `Vendor`s). A vendor is a pure mapper between its messages and the events below: no sockets, no
clock, so that its shapes are tested with plain values.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from avacast.engine.errors import AvacastError


class SpeechServiceError(AvacastError):
    """A speech service did not do what it was asked; the text says which and what to do."""

    exit_code = 5
    code = "speech_service"


@dataclass(frozen=True)
class Pcm:
    """The next bytes of an utterance's sound, PCM16LE mono; a sample may be split between two pieces."""

    data: bytes


@dataclass(frozen=True)
class Word:
    """A word, and when it is heard, in seconds from the utterance's start."""

    text: str
    start_s: float
    end_s: float
    joined: bool = False
    """Whether it follows the word before it without a blank."""


@dataclass(frozen=True)
class Words:
    """The times of some words of an utterance."""

    words: tuple[Word, ...]


@dataclass(frozen=True)
class Done:
    """All of the utterance has come."""


@dataclass(frozen=True)
class Failure:
    """The service refused or gave up; `message` is its own text."""

    message: str


@dataclass(frozen=True)
class Event:
    """What a message of a vendor says, and of which utterance; None is whichever is being spoken."""

    utterance: str | None
    body: Pcm | Words | Done | Failure


class TTS(Protocol):
    """A speech service as a session uses it: one text after the other."""

    @property
    def sample_rate_hz(self) -> int: ...

    def speak(self, text: str) -> AsyncGenerator[Pcm | Words]:
        """Synthesises `text`; closing the generator early interrupts the service.

        Raises AvacastError: BadText for what cannot be spoken, SpeechServiceError for what the service did not do.
        """
        ...

    async def aclose(self) -> None:
        """Ends the connection to the service, if there is one."""
        ...


class Vendor(Protocol):
    """The messages of one vendor's websocket. Made with a key; state is at most what the vendor's protocol needs."""

    name: str
    sample_rate_hz: int
    url: str

    @property
    def headers(self) -> Mapping[str, str]:
        """What is sent with the opening request: the key."""
        ...

    def greet(self) -> list[str]:
        """What is sent once after connecting."""
        ...

    def speak(self, utterance: str, text: str) -> list[str]:
        """What asks for `text`, all of it, as `utterance`."""
        ...

    def cancel(self, utterance: str) -> list[str]:
        """What stops `utterance`. Its sound may still come for a while, under its name."""
        ...

    def receive(self, message: str | bytes) -> list[Event]:
        """What a message of the vendor says; nothing for those that do not matter here.

        Raises SpeechServiceError for one that is not the vendor's.
        """
        ...


def read_events(vendor: Vendor, message: str | bytes) -> list[Event]:
    """What a message says. Raises SpeechServiceError, also for one whose fields are of other types than agreed."""
    try:
        return vendor.receive(message)
    except (AttributeError, TypeError, ValueError) as error:
        raise SpeechServiceError(f"{vendor.name} sent a message of another shape; is the address right?") from error


def read_json(vendor: str, message: str | bytes) -> dict[str, Any]:
    """A vendor's message as the JSON object it has to be. Raises SpeechServiceError."""
    try:
        parsed = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise SpeechServiceError(f"{vendor} sent a message that is not JSON; is the address right?") from error
    if not isinstance(parsed, dict):
        raise SpeechServiceError(f"{vendor} sent {type(parsed).__name__} instead of an object; is the address right?")
    return parsed


def read_pcm(vendor: str, encoded: object) -> Pcm:
    """Sound as it travels in JSON: base64. Raises SpeechServiceError."""
    try:
        return Pcm(base64.b64decode(str(encoded), validate=True))
    except (binascii.Error, ValueError) as error:
        raise SpeechServiceError(f"{vendor} sent sound that is not base64; is the address right?") from error


def read_words(timestamps: Mapping[str, Any]) -> Words:
    """The common shape of word times: `{"words": [...], "start": [s, ...], "end": [s, ...]}`. Raises ValueError."""
    columns = zip(timestamps.get("words", ()), timestamps.get("start", ()), timestamps.get("end", ()), strict=False)
    words = tuple(Word(str(text), float(start), float(end)) for text, start, end in columns)
    if not all(0 <= time_s < math.inf for word in words for time_s in (word.start_s, word.end_s)):
        raise ValueError("word times are 0 or more")
    return Words(words)
