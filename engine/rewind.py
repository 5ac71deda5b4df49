"""The points of a stream to which it can still go back, when what was made of its sound is not to be seen after all.

Knows states by the number of frames that had been shown, and that of a GPU's they wait in the host's memory; it knows
nothing of what else a state holds.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Generic, Protocol, Self, TypeVar

from avacast.engine.offload import Move, Offload

MAX_POINTS = 24
"""Policy when full: the oldest point goes. One point a window, so some 4 s of a stream whose viewer tells nothing."""


class Remembered(Protocol):
    """A state of a stream."""

    @property
    def num_frames_shown(self) -> int:
        """Frames that had been shown when the state was taken."""
        ...

    def moved(self, move: Move) -> Self:
        """The same with its tensors elsewhere."""
        ...


State = TypeVar("State", bound=Remembered)


class Rewind(Generic[State]):
    """The states of one stream, oldest first. Begins with the first state it may go back to."""

    def __init__(self, first: State, offload: Offload) -> None:
        self._offload = offload
        self._states = [self._away(first)]

    def add(self, state: State) -> None:
        """Notes the state after more frames were shown."""
        assert state.num_frames_shown > self._states[-1].num_frames_shown, "states follow each other"
        self._states = [*self._states[-(MAX_POINTS - 1) :], self._away(state)]

    def forget(self, frame: int) -> int:
        """Lets go of what lies before the last point at or before `frame`: nobody will ask to go back so far.

        Returns the frame of that point, the earliest to which it can still go back.
        """
        self._states = self._states[self._index(frame) :]
        return self._states[0].num_frames_shown

    def back_to(self, frame: int) -> State:
        """The last state at or before `frame`, or the oldest there is; the states after it are forgotten."""
        self._states = self._states[: self._index(frame) + 1]
        return self._states[-1].moved(self._offload.to_device())

    def _away(self, state: State) -> State:
        with self._offload.to_host() as move:
            return state.moved(move)

    def _index(self, frame: int) -> int:
        return max(0, bisect_right([state.num_frames_shown for state in self._states], frame) - 1)
