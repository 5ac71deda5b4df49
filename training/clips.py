"""Clips: one identity playing one spoken track, drawn on demand from a seed.

A clip is never stored: its seed says everything, so a pool of thousands costs nothing until it is drawn. Training
takes seeds below `VALIDATION_SEED`; validation identities, voices and sentences lie above and are never trained on.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from torch import Tensor

from avacast.training.acting import neutral, perform
from avacast.training.face_renderer import Rendered, render
from avacast.training.identity import Identity, sample_identity
from avacast.training.performance import Performance
from avacast.training.speech import SpokenTrack, spoken_track

VALIDATION_SEED = 1_000_000


@dataclass(frozen=True)
class Clip:
    """Who says what and how: everything that drawing needs."""

    identity: Identity
    track: SpokenTrack
    performance: Performance
    portrait: Performance
    motion_seed: int
    """A session of this seed moves the head in the same way."""

    def frames(self, start: int, stop: int) -> Clip:
        """The same clip with only the frames [start, stop) to draw."""
        kept = {f.name: getattr(self.performance, f.name)[start:stop] for f in fields(self.performance)}
        return replace(self, performance=Performance(**kept))

    def render(self, size: int, device: str = "cpu") -> Rendered:
        """All frames of the clip."""
        return render(self.identity, self.performance, size=size, device=device)

    def render_portrait(self, size: int, device: str = "cpu") -> Tensor:
        """The reference picture, uint8 [H, W, 3]: the same head at rest."""
        return render(self.identity, self.portrait, size=size, device=device).frames[0]


def make_clip(seed: int, num_frames: int, fps: float) -> Clip:
    """The clip of a seed."""
    rng = np.random.default_rng(seed)
    identity = sample_identity(rng)
    track = spoken_track(rng, num_frames / fps, validation=seed >= VALIDATION_SEED)
    portrait = neutral(rng)
    return Clip(identity, track, perform(track, portrait, seed, num_frames, fps), portrait, seed)
