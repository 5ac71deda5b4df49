"""The messages of the speech websocket, `/v1/sessions/{id}/audio`: what a client sends and what the server answers.

    client: start, binary PCM16, words, flush, clear, resume, close
    server: ready, flow, playback_started, playback_finished, cleared, resumed, error

Control messages are JSON text, audio is binary. Both sides use these models, so neither can say what the other does
not know. Knows shapes of messages; knows nothing of the order they may come in (`speech_protocol`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from avacast.streaming.tts import Word

MAX_UTTERANCE_ID_CHARS = 128
MAX_TEXT_CHARS = 10_000
MAX_WORDS, MAX_WORD_CHARS = 1_024, 256
"""Of one message. In a script without blanks, a whole sentence may come as one word; it is cut here (`captions`)."""


PIECE_WORDS = 32
"""Words that `word_times` puts into one message, so that the longest ones still fit into it."""

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Start(_Message):
    """Begins an utterance; the binary messages that follow are its sound, until `flush` or `clear`."""

    type: Literal["start"] = "start"
    sample_rate: int
    """Of the PCM, in Hz: 8000 to 48000."""
    channels: int = 1
    encoding: str = "pcm_s16le"
    utterance_id: Annotated[str, Field(min_length=1, max_length=MAX_UTTERANCE_ID_CHARS)] | None = None
    """Comes back in every answer about it; left out, the server chooses one and says it in `ready`."""
    text: Annotated[str, Field(max_length=MAX_TEXT_CHARS)] = ""
    """What is said, for captions. Its words are taken to be spoken evenly, unless `words` brings their times."""


class WordTimes(_Message):
    """When some words of the utterance are heard, for captions: in order, and about when their sound is sent.

    The shape is that of the speech services that tell such times: one list of words, of their starts and of their ends.
    """

    type: Literal["words"] = "words"
    words: Annotated[tuple[Annotated[str, Field(max_length=MAX_WORD_CHARS)], ...], Field(max_length=MAX_WORDS)]
    start: tuple[Seconds, ...]
    """From the beginning of the utterance."""
    end: tuple[Seconds, ...]

    @model_validator(mode="after")
    def _check_lengths(self) -> Self:
        if not len(self.words) == len(self.start) == len(self.end):
            raise ValueError("words, start and end are lists of the same length")
        return self


def word_times(words: Iterable[Word]) -> Iterator[WordTimes]:
    """The messages that tell these words. Raises ValueError for times below 0.

    Some services tell a whole sentence as one word: what is too long is told in pieces that are spoken evenly.
    """
    pieces = [piece for word in words for piece in _pieces(word)]
    for first in range(0, len(pieces), PIECE_WORDS):
        told = pieces[first : first + PIECE_WORDS]
        yield WordTimes(
            words=tuple(piece.text for piece in told),
            start=tuple(piece.start_s for piece in told),
            end=tuple(piece.end_s for piece in told),
        )


def _pieces(word: Word) -> Iterator[Word]:
    char_s = (word.end_s - word.start_s) / max(1, len(word.text))
    for first in range(0, max(1, len(word.text)), MAX_WORD_CHARS):
        text = word.text[first : first + MAX_WORD_CHARS]
        start_s = word.start_s + first * char_s
        yield Word(text, start_s, start_s + len(text) * char_s)


class Flush(_Message):
    """The utterance is complete; what was sent is said to its end."""

    type: Literal["flush"] = "flush"


class Clear(_Message):
    """Barge-in: the avatar falls silent now, whatever it was saying."""

    type: Literal["clear"] = "clear"


class Resume(_Message):
    """The interruption was none: what it cut is taken up where it was cut, as far as it had come."""

    type: Literal["resume"] = "resume"


class Close(_Message):
    """No more speech will come this way; what was sent is said to its end."""

    type: Literal["close"] = "close"


class Ready(_Message):
    """The answer to `start`. The client may send `limit_ms` of the utterance, however fast, before it hears more."""

    type: Literal["ready"] = "ready"
    utterance_id: str
    limit_ms: int


class Flow(_Message):
    """The limit was raised: so much of the utterance may be sent in all. `buffered_ms` waits to be said."""

    type: Literal["flow"] = "flow"
    utterance_id: str
    buffered_ms: int
    limit_ms: int


class PlaybackStarted(_Message):
    """The first sample of the utterance has left, at media time `pts` in seconds."""

    type: Literal["playback_started"] = "playback_started"
    utterance_id: str
    pts: float


class PlaybackFinished(_Message):
    """The utterance is over; `playback_position` is how much of it was heard, in seconds. Comes once for each, and
    once more for one that is resumed.
    """

    type: Literal["playback_finished"] = "playback_finished"
    utterance_id: str
    playback_position: float
    interrupted: bool


class Cleared(_Message):
    """The answer to `clear`: nothing said before it is heard any more. `epoch` counts interruptions."""

    type: Literal["cleared"] = "cleared"
    playback_position: float
    epoch: int


class Resumed(_Message):
    """The answer to `resume`: so much is still to be heard. Each utterance starts and finishes once more."""

    type: Literal["resumed"] = "resumed"
    duration_ms: int


class Error(_Message):
    """A message was refused and had no effect, or, with a close after it, the connection ends. The session lives on."""

    type: Literal["error"] = "error"
    code: str
    message: str


Request = Annotated[Start | WordTimes | Flush | Clear | Resume | Close, Field(discriminator="type")]
Reply = Annotated[
    Ready | Flow | PlaybackStarted | PlaybackFinished | Cleared | Resumed | Error,
    Field(discriminator="type"),
]

REQUEST: TypeAdapter[Start | WordTimes | Flush | Clear | Resume | Close] = TypeAdapter(Request)
REPLY: TypeAdapter[Ready | Flow | PlaybackStarted | PlaybackFinished | Cleared | Resumed | Error] = TypeAdapter(Reply)
