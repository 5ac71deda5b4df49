"""Whether a process that speaks every second or so still lives. Seconds only; the time is handed in."""

from __future__ import annotations

INTERVAL_S = 1.0
"""How often `is_lost` wants to be asked."""


class Heartbeat:
    """What was heard of one process, and when we last looked.

    Args:
        max_silence_s: beyond it the process hangs.
    """

    def __init__(self, max_silence_s: float) -> None:
        self._max_silence_s = max_silence_s
        self._heard_s = self._asked_s = float("-inf")

    def hear(self, now_s: float) -> None:
        """Notes that the process has spoken."""
        self._heard_s = now_s

    def is_lost(self, now_s: float) -> bool:
        """Whether it hangs.

        Not when nobody has asked for longer than usual: then we have stood still ourselves (Ctrl-Z, a paused machine),
        the process perhaps with us, and what it said may still wait to be read.
        """
        stood_still = now_s - self._asked_s > 2 * INTERVAL_S
        self._asked_s = now_s
        if stood_still:
            self._heard_s = now_s
        return now_s - self._heard_s > self._max_silence_s
