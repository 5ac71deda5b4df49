"""What the avatar says next: typed text if there is any, else the microphone, else silence. Never nothing.

Silence is pushed into the engine like any other sound, so the avatar idles alive. All audio is 48 kHz mono.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from avacast.engine.errors import Unavailable
from avacast.streaming.clock import AUDIO_RATE_HZ
from avacast.streaming.microphone import Microphone

MAX_SPEECH_S = 180
"""Bound of the speech that waits. Policy when full: a new utterance is refused, what waits is said to its end."""


class AudioSource:
    """One session's continuous sound."""

    def __init__(self) -> None:
        self.microphone = Microphone()
        self.hearing = False
        """Whether the slice taken last came from the microphone."""
        self._speech: deque[NDArray[np.float32]] = deque()

    @property
    def speech_left_s(self) -> float:
        """Seconds of speech that wait."""
        return sum(map(len, self._speech)) / AUDIO_RATE_HZ

    def say(self, samples: NDArray[np.float32]) -> None:
        """Appends an utterance, float32 [N]. Raises Unavailable when too much speech waits already."""
        if self.speech_left_s + len(samples) / AUDIO_RATE_HZ > MAX_SPEECH_S:
            raise Unavailable(f"more than {MAX_SPEECH_S} s of speech would wait; let the avatar finish first")
        self._speech.append(samples)

    def take(self, num_samples: int) -> NDArray[np.float32]:
        """The next float32 [num_samples]."""
        heard = self.microphone.pull(num_samples)
        self.hearing = heard is not None and not self._speech
        if self._speech:
            return self._take_speech(num_samples)
        return np.zeros(num_samples, np.float32) if heard is None else heard

    def _take_speech(self, num_samples: int) -> NDArray[np.float32]:
        taken = np.zeros(num_samples, np.float32)
        filled = 0
        while self._speech and filled < num_samples:
            piece = self._speech.popleft()
            part = piece[: num_samples - filled]
            taken[filled : filled + len(part)] = part
            filled += len(part)
            if len(part) < len(piece):
                self._speech.appendleft(piece[len(part) :])
        return taken
