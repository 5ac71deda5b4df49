"""The noise from which a stream is made: a function of the seed and the latent frame, of nothing else.

Overlapping windows therefore start from the same noise where they overlap, and no window depends on which came before.
This module knows shapes; it knows no windows and no schedule.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def frame_noise(seed: int, latent_frame: int, shape: tuple[int, int, int]) -> Tensor:
    """Unit normal noise of one latent frame, float32 `[C, h, w]`, drawn on the CPU so that every device gets the same.

    `seed` and `latent_frame` are 0 or above.
    """
    state = np.random.SeedSequence((seed, latent_frame)).generate_state(1, np.uint64)[0]
    generator = torch.Generator().manual_seed(int(state))
    return torch.randn(shape, generator=generator)


def window_noise(seed: int, start: int, stop: int, shape: tuple[int, int, int]) -> Tensor:
    """Noise of the latent frames [start, stop), float32 `[C, F, h, w]`."""
    return torch.stack([frame_noise(seed, frame, shape) for frame in range(start, stop)], dim=1)
