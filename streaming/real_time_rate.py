"""How fast a live session is just now: pictures delivered, and computing for them.

Knows counts and seconds; knows no clock and no session.
"""

from __future__ import annotations

from collections import deque


class RealTimeRate:
    """Two rates over a moving window: fresh pictures per second as delivered, and the engine's real-time factor."""

    def __init__(self, fps: int) -> None:
        self._fps = fps
        self._fresh: deque[bool] = deque(maxlen=fps)
        self._compute: deque[tuple[int, float]] = deque(maxlen=16)

    @property
    def fresh_per_second(self) -> int:
        return sum(self._fresh)

    @property
    def real_time_factor(self) -> float:
        """Seconds of computing for a second of video; 0 before the first frames."""
        num_frames = sum(frames for frames, _ in self._compute)
        return sum(seconds for _, seconds in self._compute) * self._fps / num_frames if num_frames else 0.0

    def note_slot(self, fresh: bool) -> None:
        self._fresh.append(fresh)

    def note_compute(self, num_frames: int, compute_s: float) -> None:
        self._compute.append((num_frames, compute_s))
