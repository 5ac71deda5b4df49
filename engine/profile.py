"""How a stream is cut into windows and how far it looks ahead: the settings of the live loop, as frozen values.

A model's three profiles trade latency for agreement between windows. This module knows counts and names; it knows no
tensors and no time but that of frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from avacast.engine.errors import BadSetting
from avacast.engine.frozen_config import FrozenConfig

ProfileName = Literal["mic", "tts", "offline"]
LiveProfile = Literal["mic", "tts"]
"""Those that do not wait for all sound."""


@dataclass(frozen=True)
class SamplerConfig(FrozenConfig):
    """Flow-matching Euler schedule (diffusers' `FlowMatchEulerDiscreteScheduler`)."""

    num_steps: int = 40
    shift: float = 5.0
    spacing: Literal["released", "even"] = "released"
    """`released`: the last of the steps starts from almost no noise. `even`: equal steps, for few of them."""


@dataclass(frozen=True)
class WindowConfig(FrozenConfig):
    """Overlapping windows of latent frames and how neighbours are fused."""

    window: int = 21
    overlap: int = 5
    weights: Literal["log", "uniform", "fixed"] = "log"
    ramp: Literal["closed", "open"] = "closed"
    """`closed`: weights from 0 to 1, as released. `open`: (j+1)/(O+1), which still blends at overlap 1, 2."""
    fuse_first_step: bool = False
    """The released loop leaves the first step unfused."""
    settle: int | None = None
    """Trailing latent frames of a window held back until the next window has fused them; None holds all `overlap`."""

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < self.window:
            raise BadSetting(f"overlap {self.overlap} must be at least 0 and below the window, {self.window}")
        if self.settle is not None and not 0 <= self.settle <= self.overlap:
            raise BadSetting(f"settle {self.settle} must lie between 0 and the overlap, {self.overlap}")

    @property
    def hop(self) -> int:
        """New latent frames of each window."""
        return self.window - self.overlap

    @property
    def held_back(self) -> int:
        """Latent frames at a window's end that do not leave with it."""
        return self.overlap if self.settle is None else self.settle

    @property
    def neighbours(self) -> int:
        """Later windows that overlap a window: one where the overlap is at most the hop."""
        return -(-self.overlap // self.hop)


@dataclass(frozen=True)
class Profile(FrozenConfig):
    """One way of running a stream."""

    window: WindowConfig
    lookahead: int = 0
    """Denoising steps, 0 to `num_steps - 1`, before which a window waits for its later neighbours' step before. At 0 a
    window is fused with its past only; at the most, the stream is the paper's two-sided loop."""
    patience: Literal["wait", "take"] = "wait"
    """`wait`: every window looks ahead, and its frames wait for the sound of the windows that it looks at. `take`: it
    looks ahead exactly where that sound is already here, and nothing ever waits."""
    sampler: SamplerConfig | None = None
    """The noise levels; None takes the model's."""

    def __post_init__(self) -> None:
        if self.lookahead < 0:
            raise BadSetting(f"lookahead is {self.lookahead}; give 0 or more")
        if self.sampler is not None and self.lookahead >= self.sampler.num_steps:
            raise BadSetting(f"lookahead {self.lookahead} must be below the number of steps, {self.sampler.num_steps}")

    @property
    def num_windows_ahead(self) -> int:
        """Later windows whose sound a window waits for (`wait`), or would like to have (`take`)."""
        return self.lookahead * self.window.neighbours

    @property
    def num_latents_waited(self) -> int:
        """Latent frames from the first of a window's new ones to the last whose sound it waits for, inclusive.

        hop + held back + hop * windows ahead: the algorithmic latency without the audio encoder's context.
        """
        ahead = self.num_windows_ahead if self.patience == "wait" else 0
        return self.window.hop * (1 + ahead) + self.window.held_back


@dataclass(frozen=True)
class Profiles(FrozenConfig):
    """A model's own profiles; what is None follows from the model's window."""

    mic: Profile | None = None
    """Somebody speaks live: small windows, no look-ahead."""
    tts: Profile | None = None
    """Speech that often arrives faster than it is heard."""
    offline: Profile | None = None
    """All sound is known: the two-sided loop."""
