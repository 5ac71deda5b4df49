"""The speech websocket as a state machine: messages in, what is to be done out, errors with a code for the rest.

    idle ──start──▶ speaking ──flush──▶ idle
                       │  ▲
        clear, or cut  ▼  │ start
                      cut: what still comes of the utterance is dropped, it was on its way

Whatever is refused has no effect and leaves the state as it was. Plain values in and out: no sockets, no clock, no
samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import ValidationError

from avacast.engine.errors import AvacastError
from avacast.streaming.speech_credit import HIGH_WATER_MS, MAX_WAITING_MS, SpeechCredit
from avacast.streaming.speech_messages import REQUEST, Clear, Close, Flow, Flush, Ready, Resume, Start, WordTimes
from avacast.streaming.tts import Word

MAX_MESSAGE_BYTES = 65_536
"""Of one message: 1.4 s of 24 kHz PCM. Larger ones make an interruption wait, and are refused."""

MIN_RATE_HZ, MAX_RATE_HZ = 8_000, 48_000
"""What speech services send. More than 48 kHz would be thrown away: nothing above is heard."""

SAMPLE_BYTES = 2
MAX_REASON_CHARS = 160
"""The reason of a refusal quotes what was sent; an answer is never as long as what asked for it."""


class SpeechError(AvacastError):
    """A message that was refused. `code` is one of

    `bad_message` (not JSON, or not one of the messages), `bad_format` (rate, channels or encoding), `bad_pcm` (half a
    sample), `message_too_big`, `not_started`, `already_started`, `lead_exceeded` (far beyond the credit).
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Begin:
    """A new utterance, PCM16 mono at `rate_hz`; it says `text`, as far as that is known."""

    utterance_id: str
    rate_hz: int
    text: str = ""


@dataclass(frozen=True)
class Sound:
    """More of the present utterance: whole samples, PCM16LE."""

    pcm: bytes


@dataclass(frozen=True)
class Timed:
    """When words of the present utterance are heard."""

    words: tuple[Word, ...]


@dataclass(frozen=True)
class End:
    """The present utterance is complete."""


@dataclass(frozen=True)
class Interrupt:
    """Everything falls silent."""


@dataclass(frozen=True)
class TakeUp:
    """What the last interruption cut is said after all."""


@dataclass(frozen=True)
class Leave:
    """The client has nothing more to say; the connection ends."""


Action = Begin | Sound | Timed | End | Interrupt | TakeUp | Leave


class SpeechProtocol:
    """One connection's side of the conversation."""

    def __init__(self) -> None:
        self.state: Literal["idle", "speaking", "cut"] = "idle"
        self.utterance_id = ""
        """The present utterance's, or the last one's."""
        self._num_utterances = 0
        self._rate_hz = 0
        self._credit = SpeechCredit(0)

    def receive(self, message: str | bytes, buffered_ms: float) -> Action | None:
        """What one message asks for, while `buffered_ms` of speech waits; None for what is left of a cut utterance.

        Raises SpeechError.
        """
        size = len(message) if isinstance(message, bytes) else len(message.encode())
        if size > MAX_MESSAGE_BYTES:
            text = f"the message has {size} bytes, {MAX_MESSAGE_BYTES} at most are taken; send smaller pieces"
            raise SpeechError("message_too_big", text)
        if isinstance(message, bytes):
            return self._receive_pcm(message, buffered_ms)
        match _parse(message):
            case Start() as start:
                return self._start(start, buffered_ms)
            case WordTimes() as times:
                return self._receive_words(times)
            case Flush():
                return self._flush()
            case Clear():
                self.state = "idle" if self.state == "idle" else "cut"
                return Interrupt()
            case Resume():
                return TakeUp()
            case Close():
                self.state = "idle"
                return Leave()

    def cut(self) -> None:
        """The present utterance was interrupted from elsewhere: what still comes of it is dropped."""
        if self.state == "speaking":
            self.state = "cut"

    def ready(self) -> Ready:
        """The answer to `start`."""
        return Ready(utterance_id=self.utterance_id, limit_ms=self._credit.limit_ms)

    def flow(self, buffered_ms: float) -> Flow | None:
        """The raised limit, when there is one to tell now that `buffered_ms` waits."""
        if self.state != "speaking" or not self._credit.raised(buffered_ms):
            return None
        limit_ms = self._credit.limit_ms
        return Flow(utterance_id=self.utterance_id, buffered_ms=round(buffered_ms), limit_ms=limit_ms)

    def _start(self, start: Start, buffered_ms: float) -> Begin:
        if self.state == "speaking":
            text = f"utterance {self.utterance_id!r} has not ended; send flush or clear before the next start"
            raise SpeechError("already_started", text)
        _check_format(start)
        self._num_utterances += 1
        self.utterance_id = start.utterance_id or f"utterance-{self._num_utterances}"
        self._rate_hz = start.sample_rate
        self._credit = SpeechCredit(buffered_ms)
        self.state = "speaking"
        return Begin(self.utterance_id, start.sample_rate, start.text)

    def _receive_words(self, times: WordTimes) -> Timed | None:
        if self.state == "idle":
            raise SpeechError("not_started", "words came outside of an utterance; send them between start and flush")
        if self.state == "cut":
            return None
        return Timed(tuple(map(Word, times.words, times.start, times.end)))

    def _flush(self) -> End | None:
        if self.state == "idle":
            raise SpeechError("not_started", "there is no utterance to flush; send start first")
        was_cut, self.state = self.state == "cut", "idle"
        return None if was_cut else End()

    def _receive_pcm(self, pcm: bytes, buffered_ms: float) -> Sound | None:
        if self.state == "idle":
            raise SpeechError("not_started", "audio came before start; say its sample rate first")
        if len(pcm) % SAMPLE_BYTES:
            text = f"{len(pcm)} bytes are no whole number of 16-bit samples; this message was dropped"
            raise SpeechError("bad_pcm", text)
        if self.state == "cut":
            return None
        if not self._credit.receive(1000 * len(pcm) / SAMPLE_BYTES / self._rate_hz, buffered_ms):
            waiting, credit = MAX_WAITING_MS // 1000, HIGH_WATER_MS // 1000
            text = f"more than {waiting} s of speech would wait; keep the limit of ready and flow, {credit} s ahead"
            raise SpeechError("lead_exceeded", text)
        return Sound(pcm)


def _parse(text: str) -> Start | WordTimes | Flush | Clear | Resume | Close:
    try:
        return REQUEST.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = f"{where}: {first['msg']}" if where else first["msg"]
        raise SpeechError("bad_message", f"not a message of this protocol ({reason[:MAX_REASON_CHARS]})") from error


def _check_format(start: Start) -> None:
    if not MIN_RATE_HZ <= start.sample_rate <= MAX_RATE_HZ:
        text = f"sample_rate {start.sample_rate} is outside {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz"
        raise SpeechError("bad_format", text)
    if start.channels != 1 or start.encoding != "pcm_s16le":
        text = f"{start.channels} channels of {start.encoding[:32]!r} are not taken; send 1 channel of 'pcm_s16le'"
        raise SpeechError("bad_format", text)
