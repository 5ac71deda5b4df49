"""One session inside the worker: audio that waits, the engine's session, and which frame came from which slice.

Knows integers, samples and the engine's door; knows nothing of processes, pipes or clocks.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from avacast.engine.session import Frame
    from avacast.streaming.recorded_session import AnySession

MAX_WAITING = 16
"""Slices that wait for the engine at most, so that what it makes under overload is not too late to be shown. Policy
when full: the oldest is dropped *for the engine only* and counted; the viewer hears it all the same, and the picture
repeats for as long as the slice lasted."""

MAX_AHEAD = 75
"""Credit: frames made beyond what the viewer has heard. At the bound the lane waits until the viewer has caught up."""


class Lane:
    """The queue in front of one engine session.

    The stream begins with silence that nobody hears: a first window needs a whole window of sound, every later one
    only a hop, and the viewer would wait out the difference for as long as the session lasts.
    """

    def __init__(self, session: AnySession, samples_per_frame: int) -> None:
        self.num_skipped = 0
        self._session = session
        self._waiting: deque[tuple[int, NDArray[np.float32]]] = deque()
        self._pushed: deque[int] = deque()
        self._position = 0
        self._made = 0
        self._num_unseen = self._listen_to_silence(np.zeros(samples_per_frame, np.float32))

    @property
    def can_run(self) -> bool:
        return bool(self._waiting) and self._made - self._position < MAX_AHEAD

    def push(self, number: int, samples: NDArray[np.float32], position: int) -> None:
        """Enters slice `number`, float32 [samples_per_frame]; `position` is the slice the viewer hears."""
        self._position = position
        if len(self._waiting) == MAX_WAITING:
            self._waiting.popleft()
            self.num_skipped += 1
        self._waiting.append((number, samples))

    def advance(self) -> tuple[tuple[int, ...], NDArray[np.uint8]] | None:
        """At most one window of work: slice numbers and frames uint8 [F, H, W, 3], or None when audio ran out."""
        while self._waiting:
            number, samples = self._waiting.popleft()
            self._session.push(samples)
            self._pushed.append(number)
            if frames := self._seen(self._session.pull()):
                numbers = tuple(self._pushed.popleft() for _ in frames)
                self._made = numbers[-1] + 1
                return numbers, np.stack([frame.image for frame in frames])
        return None

    def close(self) -> None:
        self._session.close()

    def _listen_to_silence(self, silence: NDArray[np.float32]) -> int:
        """Makes the first window; returns how many of the silent frames are still to come."""
        num_pushed = 0
        while True:
            self._session.push(silence)
            num_pushed += 1
            if frames := self._session.pull():
                return num_pushed - len(frames)

    def _seen(self, frames: list[Frame]) -> list[Frame]:
        """Without the frames that belong to the silence before the stream."""
        unseen, self._num_unseen = self._num_unseen, max(0, self._num_unseen - len(frames))
        return frames[unseen:]
