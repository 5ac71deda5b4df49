"""What the avatar says next: an utterance if there is any, else the microphone, else silence. Never nothing.

Silence is pushed into the engine like any other sound, so the avatar idles alive. All audio is 48 kHz mono.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avacast.engine.errors import Unavailable
from avacast.streaming.clock import AUDIO_RATE_HZ
from avacast.streaming.microphone import Microphone
from avacast.streaming.utterance import Utterance

MAX_SPEECH_S = 180
"""Bound of the speech that waits. Policy when full: what comes is refused, what waits is said to its end. Whoever
streams speech in is held far below it by credit (`speech_credit`)."""

MAX_UTTERANCES = 32
"""Utterances that wait, however short. Policy when full: as above."""

MAX_DRY_S = 10
"""An utterance that has not ended and brought nothing for so long is cut: its sender has gone, and others wait."""


@dataclass(frozen=True)
class Span:
    """The samples `start` to `stop` of a slice are the next ones of `utterance`."""

    utterance: Utterance
    start: int
    stop: int


class AudioSource:
    """One session's continuous sound."""

    def __init__(self) -> None:
        self.microphone = Microphone()
        self.hearing = False
        """Whether the slice taken last came from the microphone."""
        self.overheard: NDArray[np.float32] | None = None
        """What the microphone brought during the slice taken last, if it was not that slice: somebody speaks too."""
        self.spans: tuple[Span, ...] = ()
        """Which utterances the slice taken last came from."""
        self._utterances: deque[Utterance] = deque()
        self._num_dry = 0

    @property
    def speaking(self) -> bool:
        """Whether an utterance is being said, waits, or may still go on."""
        return any(utterance.num_waiting or not utterance.ended for utterance in self._utterances)

    @property
    def speech_left_s(self) -> float:
        """Seconds of speech that wait."""
        return sum(utterance.num_waiting for utterance in self._utterances) / AUDIO_RATE_HZ

    def say(self, utterance: Utterance) -> None:
        """Queues an utterance, which may still grow. While it runs dry before its end, silence is heard.

        Raises Unavailable when too much speech waits already.
        """
        if len(self._utterances) >= MAX_UTTERANCES:
            raise Unavailable(f"{MAX_UTTERANCES} utterances wait already; let the avatar finish first")
        if self.speech_left_s + utterance.num_waiting / AUDIO_RATE_HZ > MAX_SPEECH_S:
            raise Unavailable(f"more than {MAX_SPEECH_S} s of speech would wait; let the avatar finish first")
        self._utterances.append(utterance)

    def clear(self) -> None:
        """Drops every utterance, also the one being said."""
        self._utterances.clear()

    def take(self, num_samples: int) -> NDArray[np.float32]:
        """The next float32 [num_samples]."""
        heard = self.microphone.pull(num_samples)
        self._forget_said()
        self.hearing = heard is not None and not self._utterances
        self.overheard = None if self.hearing else heard
        if self._utterances:
            return self._take_speech(num_samples)
        self.spans = ()
        return np.zeros(num_samples, np.float32) if heard is None else heard

    def _take_speech(self, num_samples: int) -> NDArray[np.float32]:
        taken = np.zeros(num_samples, np.float32)
        spans: list[Span] = []
        filled = 0
        while self._utterances and filled < num_samples:
            utterance = self._utterances[0]
            part = utterance.take(num_samples - filled)
            taken[filled : filled + len(part)] = part
            if len(part):
                spans.append(Span(utterance, filled, filled + len(part)))
            filled += len(part)
            self._forget_said()
            if self._utterances and self._utterances[0] is utterance:
                break  # it has run dry before its end, and what comes after it has to wait
        self.spans = tuple(spans)
        self._note_dry(0 if filled else num_samples)
        return taken

    def _note_dry(self, num_samples: int) -> None:
        self._num_dry = self._num_dry + num_samples if num_samples else 0
        if self._num_dry >= MAX_DRY_S * AUDIO_RATE_HZ:
            self._num_dry = 0
            self._utterances[0].cut()

    def _forget_said(self) -> None:
        while self._utterances and self._utterances[0].ended and not self._utterances[0].num_waiting:
            self._utterances.popleft()
