"""The bit rate of pictures that are encoded once for viewers of different speed. Numbers only; the time is handed in.

The rate follows the slowest viewer, for a picture that does not arrive is worth less than a coarse one, but never below
a third of what the owner set: a viewer slower than that is not waited for, and loses packets, so that one bad line
does not spoil the picture for all. Every change costs all viewers a keyframe; so the rate falls at once, but only when
it falls by a tenth, and rises by a quarter, and only after it has been steady for some seconds.
"""

from __future__ import annotations

from collections.abc import Hashable

FLOOR = 1 / 3
MIN_CHANGE = 0.1
MAX_RISE = 1.25
STEADY_S = 4.0


class BitratePolicy:
    """`max_bps` is the owner's setting."""

    def __init__(self, max_bps: int) -> None:
        self.current_bps = max_bps
        self._max_bps = max_bps
        self._estimates: dict[Hashable, int] = {}
        self._changed_s = float("-inf")

    def note(self, viewer: Hashable, estimate_bps: int) -> None:
        """Enters what a viewer's line carries, as he says."""
        self._estimates[viewer] = estimate_bps

    def forget(self, viewer: Hashable) -> None:
        self._estimates.pop(viewer, None)

    def decide(self, now_s: float) -> int:
        """The rate from now on, bit/s."""
        slowest = min(self._estimates.values(), default=self._max_bps)
        target = max(round(self._max_bps * FLOOR), min(self._max_bps, slowest))
        if target < self.current_bps * (1 - MIN_CHANGE):
            self._change(target, now_s)
        elif target > self.current_bps * (1 + MIN_CHANGE) and now_s - self._changed_s >= STEADY_S:
            self._change(min(target, round(self.current_bps * MAX_RISE)), now_s)
        return self.current_bps

    def _change(self, target: int, now_s: float) -> None:
        self.current_bps, self._changed_s = target, now_s
