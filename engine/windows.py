"""Where overlapping windows of latent frames lie, when their frames are final, and how strongly neighbours are fused.

Integers and plain floats only: this module knows positions on the time line of one stream. It knows no tensors, no
audio and no clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from avacast.engine.config import TEMPORAL_STRIDE
from avacast.engine.profile import WindowConfig


def latents_for_frames(num_frames: int) -> int:
    """The fewest latent frames that decode to at least `num_frames` video frames (the first makes one, others four)."""
    assert num_frames >= 0, num_frames
    return 0 if num_frames == 0 else 1 + math.ceil((num_frames - 1) / TEMPORAL_STRIDE)


def frames_of_latents(num_latents: int) -> int:
    """Video frames that `num_latents` latent frames from the start of a stream decode to."""
    assert num_latents >= 0, num_latents
    return 0 if num_latents == 0 else TEMPORAL_STRIDE * (num_latents - 1) + 1


@dataclass(frozen=True)
class WindowPlan:
    """Windows of `window` latent frames that start every `window - overlap`; the last one may be shorter.

    `held_back` trailing latent frames of a window wait for the next window to fuse them before they leave. The first
    window starts at `origin`.
    """

    window: int
    overlap: int
    held_back: int
    origin: int = 0

    def __post_init__(self) -> None:
        assert 0 <= self.held_back <= self.overlap < self.window, self

    @classmethod
    def from_config(cls, config: WindowConfig) -> WindowPlan:
        return cls(config.window, config.overlap, config.held_back)

    @property
    def hop(self) -> int:
        """New latent frames of each window."""
        return self.window - self.overlap

    def span(self, index: int, end: int | None = None) -> tuple[int, int]:
        """First latent frame of window `index` and the one after its last, cut at the stream's `end` where known."""
        assert index >= 0, index
        start = self.origin + index * self.hop
        stop = start + self.window
        return start, stop if end is None else min(stop, end)

    def is_last(self, index: int, end: int) -> bool:
        """Whether window `index` reaches the end of a stream of `end` latent frames (the released rule)."""
        return self.span(index)[1] >= end

    def num_windows(self, end: int) -> int:
        """Windows of a stream of `end` latent frames."""
        length = end - self.origin
        return 0 if length <= 0 else 1 + max(0, math.ceil((length - self.window) / self.hop))


def overlap_weights(config: WindowConfig, overlap: int | None = None) -> tuple[float, ...]:
    """The weight of the *new* window for every overlapped latent frame, oldest first; the previous has the rest.

    With O overlapped frames and j = 0 .. O-1 the ramp is u = j/(O-1) when closed (from all previous to all new) or
    u = (j+1)/(O+1) when open. `uniform` weighs by u, `log` by log(1 + u(e-1)), which rises fast early, and `fixed` by
    one half throughout. A closed ramp of one frame is only its beginning, u = 0: the previous window's frame stands.
    `overlap` is the configured one unless given. Source: StableAvatar (arXiv 2508.08248), dynamic weighted sliding
    window.
    """
    overlap = config.overlap if overlap is None else overlap
    return tuple(_weight(config.weights, u) for u in _ramp(overlap, config.ramp))


def _ramp(overlap: int, ramp: str) -> list[float]:
    if ramp == "open":
        return [(j + 1) / (overlap + 1) for j in range(overlap)]
    return [j / max(1, overlap - 1) for j in range(overlap)]


def _weight(scheme: str, u: float) -> float:
    if scheme == "fixed":
        return 0.5
    return u if scheme == "uniform" else math.log1p(u * (math.e - 1))
