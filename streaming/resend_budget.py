"""How many lost packets are sent again. Numbers only; the time is handed in.

Without a bound, one small report that names every packet many times over makes the server send megabytes. A packet is
worth sending again three times at most, no sooner than a round trip later, and a viewer who has lost more than the
bucket holds is served by a new keyframe instead.
"""

from __future__ import annotations

from collections.abc import Iterable

MAX_PER_REPORT = 128
MAX_PER_PACKET = 3
MIN_INTERVAL_S = 0.1
RATE_HZ = 250.0
"""Packets sent again per second in the long run, and at once at most."""

MAX_REMEMBERED = 512
"""Packets whose repeats are counted. Policy when full: the one asked for longest ago is forgotten."""


class ResendBudget:
    """The budget of one sender."""

    def __init__(self) -> None:
        self._tokens = RATE_HZ
        self._filled_s = 0.0
        self._repeats: dict[int, tuple[int, float]] = {}

    def admit(self, sequence_numbers: Iterable[int], now_s: float) -> list[int]:
        """Which of the reported packets are sent again now."""
        self._tokens = min(RATE_HZ, self._tokens + RATE_HZ * (now_s - self._filled_s))
        self._filled_s = now_s
        wanted = list(dict.fromkeys(sequence_numbers))[:MAX_PER_REPORT]
        return [number for number in wanted if self._take(number, now_s)]

    def _take(self, number: int, now_s: float) -> bool:
        count, last_s = self._repeats.pop(number, (0, float("-inf")))
        # The numbers come round again after some minutes, and are new packets then.
        count = 0 if now_s - last_s > 60 else count
        if count >= MAX_PER_PACKET or now_s - last_s < MIN_INTERVAL_S or self._tokens < 1:
            if count:
                self._repeats[number] = (count, last_s)
            return False
        self._tokens -= 1
        self._repeats[number] = (count + 1, now_s)
        if len(self._repeats) > MAX_REMEMBERED:
            del self._repeats[next(iter(self._repeats))]
        return True
