"""The points of a stream to which it can still go back, when what was made of its sound is not to be seen after all.

Knows states by the number of frames that had been shown and by the tensors that they keep, and that a GPU's wait in the
host's memory; it knows nothing of what else a state holds.

Policy when full, by number or by bytes: the oldest point goes. The newest always stays, however large. An interruption
that asks for a frame before the oldest point goes back to that point, and the frames before it stand. Points are not
thinned out: interruptions ask for what is near.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Generic, NamedTuple, Protocol, Self, TypeVar

from torch import Tensor

from avacast.engine.offload import Move, Offload

MAX_POINTS = 24
"""One point a window, so some 4 s of a stream whose viewer tells nothing."""

MAX_BYTES = 6_000_000_000
"""Of all points of one session together, with what they share counted once; a process holds as much for each.

A point of pocket at 256x256 takes 8 MB in float32: all of them are kept, in 0.2 GB. At 1.3B and 512x512 what counts is
the decoder's state, 0.93 GB packed and 1.24 GB as pinned memory is handed out, which points share that are less than
nine latent frames apart. Four states fit, and so all points of `mic` (3.7 s of a stream) and seven of `tts` (5.8 s). A
server waits when it is 3 s ahead of its viewer, and lets go of what was seen: of it no point goes that could be asked
for, and it holds two to four states.
"""


class Remembered(Protocol):
    """A state of a stream."""

    @property
    def num_frames_shown(self) -> int:
        """Frames that had been shown when the state was taken."""
        ...

    @property
    def tensors(self) -> list[Tensor]:
        """What it keeps in memory."""
        ...

    def moved(self, move: Move) -> Self:
        """The same with its tensors elsewhere."""
        ...


State = TypeVar("State", bound=Remembered)


class _Point(NamedTuple, Generic[State]):
    state: State
    num_bytes: dict[int, int]
    """Of each tensor, by identity, which is its own while the point is kept."""


class Rewind(Generic[State]):
    """The states of one stream, oldest first. Begins with the first state it may go back to."""

    def __init__(self, first: State, offload: Offload, max_bytes: int = MAX_BYTES) -> None:
        self._offload = offload
        self._max_bytes = max_bytes
        self._points = [self._away(first)]

    def add(self, state: State) -> None:
        """Notes the state after more frames were shown."""
        assert state.num_frames_shown > self._points[-1].state.num_frames_shown, "states follow each other"
        self._points = [*self._points[-(MAX_POINTS - 1) :], self._away(state)]
        while self.num_bytes > self._max_bytes and len(self._points) > 1:
            self._points = self._points[1:]

    def forget(self, frame: int) -> int:
        """Lets go of what lies before the last point at or before `frame`: nobody will ask to go back so far.

        Returns the frame of that point, the earliest to which it can still go back.
        """
        self._points = self._points[self._index(frame) :]
        return self._points[0].state.num_frames_shown

    def back_to(self, frame: int) -> State:
        """The last state at or before `frame`, or the oldest there is; the states after it are forgotten."""
        self._points = self._points[: self._index(frame) + 1]
        return self._points[-1].state.moved(self._offload.to_device())

    @property
    def num_bytes(self) -> int:
        """The memory that all points take; tensors that several share are counted once."""
        held: dict[int, int] = {}
        for point in self._points:
            held |= point.num_bytes
        return sum(held.values())

    def _away(self, state: State) -> _Point[State]:
        with self._offload.to_host() as move:
            away = state.moved(move)
        return _Point(away, {id(tensor): self._offload.num_bytes(tensor) for tensor in away.tensors})

    def _index(self, frame: int) -> int:
        return max(0, bisect_right([point.state.num_frames_shown for point in self._points], frame) - 1)
