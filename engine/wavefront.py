"""Which window takes which denoising step when: the schedule of a stream, as integers.

Windows begin one after the other. A window's step may wait until later windows have taken their step before it, so that
it goes on from what they made of the overlap, as in the paper's loop; several windows are then in flight, each a few
steps behind the next, and their fronts run through the stream like a staggered wave. This module knows counts; it knows
no tensors, no sound and no time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, Self


class Pass(NamedTuple):
    """One pass of the network."""

    window: int
    step: int


def step_lags(num_steps: int, lookahead: int, neighbours: int) -> tuple[int, ...]:
    """For every step, how many windows behind the newest the window that takes it is.

    `lookahead` of the `num_steps - 1` transitions from one step to the next, spread evenly, wait for the window's
    `neighbours` later ones. With all of them, the passes in their order are those of the offline loop.
    """
    assert 0 <= lookahead < max(1, num_steps), f"look-ahead {lookahead} with {num_steps} steps"
    return tuple(neighbours * (step * lookahead // max(1, num_steps - 1)) for step in range(num_steps))


@dataclass(frozen=True)
class Wavefront:
    """How far every step has come; a value, so that a copy of the stream's state is a reference to it."""

    next_windows: tuple[int, ...]
    """For every step, the window that takes it next. Never rising from one step to the next."""
    front: int = -1
    """The newest window that has begun; beyond the stream's last one while the steps behind it run out."""
    lags: tuple[int, ...] = ()
    """For every step, how many windows behind the front it runs at present."""

    @classmethod
    def start(cls, num_steps: int) -> Self:
        return cls((0,) * num_steps, lags=(0,) * num_steps)

    def due(self, num_windows: int | None = None) -> Pass | None:
        """The pass to run now; None when the front has to move on first.

        `num_windows` is the stream's number of windows once it is known. Early steps come first, and within a step
        earlier windows: also after the lags have become smaller, every pass finds what it starts from.
        """
        for step, window in enumerate(self.next_windows):
            exists = num_windows is None or window < num_windows
            if exists and window <= self.front - self.lags[step]:
                return Pass(window, step)
        return None

    def advanced(self, done: Pass) -> Self:
        """After the pass that was due."""
        assert self.next_windows[done.step] == done.window, (done, self)
        windows = list(self.next_windows)
        windows[done.step] += 1
        return replace(self, next_windows=tuple(windows))

    def admitted(self, lags: tuple[int, ...]) -> Self:
        """With the next window begun, and from now on these lags."""
        assert len(lags) == len(self.next_windows), (lags, self)
        return replace(self, front=self.front + 1, lags=lags)

    def hurried(self) -> Self:
        """With no lags, so that what is in flight may finish."""
        return replace(self, lags=(0,) * len(self.lags))

    @property
    def num_finished(self) -> int:
        """Windows that have taken their last step."""
        return self.next_windows[-1]

    @property
    def in_flight(self) -> range:
        """Windows that have begun (past the stream's end perhaps) and not finished."""
        return range(self.num_finished, self.front + 1)
