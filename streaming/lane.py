"""One session inside the worker: audio that waits, the engine's session, and which frame came from which slice.

Knows integers, samples and the engine's door; knows nothing of processes, pipes or clocks.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from avacast.engine.frame import Showing
    from avacast.engine.profile import Profile
    from avacast.streaming.recorded_session import AnySession

MAX_WAITING = 16
"""Slices that wait for the engine at most, so that what it makes under overload is not too late to be shown. Policy
when full: the oldest is dropped *for the engine only* and counted; the viewer hears it all the same, and the picture
repeats for as long as the slice lasted."""

MAX_AHEAD = 75
"""Credit: frames made beyond what the viewer has heard. At the bound the lane waits until the viewer has caught up."""

IDLE_AFTER = 50
"""Silent slices (2 s) after which the avatar idles, in a profile of fewer steps."""

SILENCE_PEAK = 5e-4
"""What the engine's audio features take for silence (`engine.speech_encoder`)."""

UNHEARD = -1
"""The number of every slice of the silence before the stream."""


@dataclass(frozen=True)
class Begun:
    """A window whose frames are on their way."""

    numbers: tuple[int, ...]
    """The slices that they show."""
    showing: Showing

    def images(self) -> NDArray[np.uint8]:
        """Waits for them: uint8 [F, H, W, 3]."""
        # Frames of the unheard silence come before all others.
        return np.stack([frame.image for frame in self.showing.frames()[-len(self.numbers) :]])


class Lane:
    """The queue in front of one engine session, which was opened interruptible.

    The stream begins with silence that nobody hears: a first window needs a whole window of sound, every later one
    only a hop, and the viewer would wait out the difference for as long as the session lasts. `idle` is the profile
    for long silences; None stays in the session's own.
    """

    def __init__(self, session: AnySession, samples_per_frame: int, idle: Profile | None = None) -> None:
        self.num_skipped = 0
        self.epoch = 0
        """The interruption after which the frames are made that come next."""
        self._session = session
        self._profiles = (session.profile, idle or session.profile)
        self._silence = np.zeros(samples_per_frame, np.float32)
        self._waiting: deque[tuple[int, NDArray[np.float32]]] = deque()
        self._slices: deque[int] = deque()
        """The slice of each frame from `_first_frame` on."""
        self._first_frame = 0
        self._position = self._made = self._num_silent = 0
        self._may_have_work = False
        self._listen_to_silence()

    @property
    def can_run(self) -> bool:
        return (bool(self._waiting) or self._may_have_work) and self._made - self._position < MAX_AHEAD

    def push(self, number: int, samples: NDArray[np.float32], position: int) -> None:
        """Enters slice `number`, float32 [samples_per_frame]; `position` is the slice the viewer hears."""
        self._note_position(position)
        if len(self._waiting) == MAX_WAITING:
            self._waiting.popleft()
            self.num_skipped += 1
        self._waiting.append((number, samples))

    def interrupt(self, epoch: int, number: int) -> None:
        """Unsays what was entered: from about slice `number` on there is silence, and frames are made anew.

        The engine goes back to the end of a window, so frames of up to a window before `number` come a second time.
        """
        self.epoch = epoch
        first = next((i for i, slice_ in enumerate(self._slices) if slice_ >= number), len(self._slices))
        frame = self._session.interrupt(self._first_frame + first)
        again: list[int] = []
        while self._first_frame + len(self._slices) > frame:
            again.append(self._slices.pop())
        again = [*reversed(again), *(waiting for waiting, _ in self._waiting)]
        self._waiting.clear()
        self._made = again[0] if again else self._made
        self._num_silent = IDLE_AFTER  # fewer steps at once: the sooner the mouth closes, the better
        for slice_ in again:
            self._enter(slice_, self._silence)

    def advance(self) -> tuple[tuple[int, ...], NDArray[np.uint8]] | None:
        """At most one window of work: slice numbers and frames uint8 [F, H, W, 3], or None when audio ran out."""
        begun = self.begin()
        return None if begun is None else (begun.numbers, begun.images())

    def begin(self) -> Begun | None:
        """`advance` without waiting for a GPU, which goes on with it while other lanes begin."""
        while True:
            showing = self._session.begin()
            slices = [self._slices[pts - self._first_frame] for pts in showing.numbers]
            numbers = tuple(slice_ for slice_ in slices if slice_ != UNHEARD)
            if numbers:
                self._made = numbers[-1] + 1
                return Begun(numbers, showing)
            if not self._waiting:
                self._may_have_work = False
                return None
            self._enter(*self._waiting.popleft())

    def close(self) -> None:
        self._session.close()

    def _enter(self, number: int, samples: NDArray[np.float32]) -> None:
        self._num_silent = self._num_silent + 1 if np.abs(samples).max() <= SILENCE_PEAK else 0
        profile = self._profiles[self._num_silent > IDLE_AFTER]
        if profile != self._session.profile:
            self._session.change_profile(profile)
        self._session.push(samples)
        self._slices.append(number)
        self._may_have_work = True

    def _note_position(self, position: int) -> None:
        """Lets go of what no interruption can ask for any more: it never goes back beyond what the viewer hears."""
        self._position = position
        heard = next((i for i, slice_ in enumerate(self._slices) if slice_ >= position), len(self._slices))
        kept = self._session.seen(self._first_frame + heard)
        while self._first_frame < kept:
            self._slices.popleft()
            self._first_frame += 1

    def _listen_to_silence(self) -> None:
        """Makes the first window, which nobody sees."""
        while True:
            self._enter(UNHEARD, self._silence)
            if self._session.pull():
                return
