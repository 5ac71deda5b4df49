"""One stretch of speech on its way: samples that wait to be said, how much of it was heard, and who is told.

Samples may arrive faster or slower than they are said. However it ends, an utterance tells its listener exactly once
that it has: when its last sample was heard, or when it was cut. Knows samples at 48 kHz; knows nothing of sources,
clocks or networks.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from avacast.engine.errors import AvacastError
from avacast.streaming.clock import AUDIO_RATE_HZ

PREFILL_SAMPLES = 2_880
"""60 ms gathered before the first sample is said, and again after running dry: a stream slower than real time is then
heard in pieces of that length at least, and not with a hole in every slice."""


class Interrupted(AvacastError):
    """The avatar was silenced before it could say this, or all of it."""

    code = "interrupted"


class UtteranceListener(Protocol):
    """What is told about an utterance, always from within the event loop."""

    def on_started(self, utterance: Utterance, pts_s: float) -> None:
        """Its first sample has left, at this media time."""
        ...

    def on_heard(self, utterance: Utterance) -> None:
        """More of it has left, 20 ms or less; `position_s` says how much in all. Not told of what is finished."""
        ...

    def on_finished(self, utterance: Utterance, interrupted: bool) -> None:
        """Its last sample has left, or it was cut; `position_s` says how much of it was heard."""
        ...


class Listeners:
    """Several that are told of the same utterance, in this order."""

    def __init__(self, *listeners: UtteranceListener) -> None:
        self._listeners = listeners

    def on_started(self, utterance: Utterance, pts_s: float) -> None:
        for listener in self._listeners:
            listener.on_started(utterance, pts_s)

    def on_heard(self, utterance: Utterance) -> None:
        for listener in self._listeners:
            listener.on_heard(utterance)

    def on_finished(self, utterance: Utterance, interrupted: bool) -> None:
        for listener in self._listeners:
            listener.on_finished(utterance, interrupted)


class Utterance:
    """Speech named `name`, float32 at 48 kHz."""

    def __init__(self, name: str, listener: UtteranceListener | None = None) -> None:
        self.name = name
        self.ended = False
        """Nothing more is pushed: everything was, or it was cut."""
        self.finished = False
        """The listener has been told of the end."""
        self.was_cut = False
        self.num_pushed = 0
        self.num_heard = 0
        self._listener = listener
        self._pieces: deque[NDArray[np.float32]] = deque()
        self._unheard: deque[NDArray[np.float32]] = deque()
        """What was taken and has not left."""
        self._num_waiting = 0
        self._flowing = False
        self._started = False

    @property
    def num_waiting(self) -> int:
        """Samples that were pushed and not yet taken."""
        return self._num_waiting

    @property
    def position_s(self) -> float:
        """How much of it was heard."""
        return self.num_heard / AUDIO_RATE_HZ

    def push(self, samples: NDArray[np.float32]) -> None:
        """Appends float32 [N]. What still comes after a cut is dropped."""
        if self.was_cut:
            return
        assert not self.ended, f"utterance {self.name} has ended"
        self.num_pushed += len(samples)
        self._num_waiting += len(samples)
        if len(samples):
            self._pieces.append(samples)

    def end(self) -> None:
        """All of it has been pushed; what waits is said to its end. Ending twice does nothing."""
        self.ended = True
        self._finish_if_heard()

    def cut(self) -> None:
        """Ends it here; nothing more of it is heard, unless it is `resumed`."""
        self._num_waiting = 0
        self.ended = True
        if not self.finished:
            self.was_cut = True
            self._finish(interrupted=True)

    def resumed(self) -> Utterance:
        """The rest of an utterance that was cut, as far as it had come: its name, listener and position go on."""
        assert self.was_cut, f"utterance {self.name} was not cut"
        rest = Utterance(self.name, self._listener)
        rest.num_pushed = rest.num_heard = self.num_heard
        for piece in (*self._unheard, *self._pieces):
            rest.push(piece)
        rest.end()
        return rest

    def take(self, max_samples: int) -> NDArray[np.float32]:
        """The next float32 [N], with N at most `max_samples`; fewer when it has ended or runs dry."""
        if not (self._flowing or self.ended or self._num_waiting >= PREFILL_SAMPLES):
            return np.zeros(0, np.float32)
        taken: list[NDArray[np.float32]] = []
        missing = max_samples
        while missing and self._pieces:
            piece = self._pieces.popleft()
            if len(piece) > missing:
                self._pieces.appendleft(piece[missing:])
            taken.append(piece[:missing])
            missing -= len(taken[-1])
        self._flowing = not missing
        self._num_waiting -= max_samples - missing
        self._unheard.extend(taken)
        return np.concatenate(taken) if taken else np.zeros(0, np.float32)

    def hear(self, num_samples: int, pts_s: float) -> None:
        """Notes that the next `num_samples` have left, the first of them at media time `pts_s`."""
        if self.finished:
            return
        if not self._started and num_samples and self._listener:
            self._listener.on_started(self, pts_s)
        self._started = self._started or bool(num_samples)
        self.num_heard += num_samples
        self._forget_heard(num_samples)
        if self._listener:
            self._listener.on_heard(self)
        self._finish_if_heard()

    def _forget_heard(self, num_samples: int) -> None:
        while num_samples and self._unheard:
            piece = self._unheard.popleft()
            if len(piece) > num_samples:
                self._unheard.appendleft(piece[num_samples:])
            num_samples -= min(num_samples, len(piece))

    def _finish_if_heard(self) -> None:
        if self.ended and self.num_heard == self.num_pushed:
            self._finish(interrupted=False)

    def _finish(self, *, interrupted: bool) -> None:
        if self.finished:
            return
        self.finished = True
        if self._listener:
            self._listener.on_finished(self, interrupted)
