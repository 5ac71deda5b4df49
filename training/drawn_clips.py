"""Short drawn clips in memory, and random crops of them: what the auto-encoder learns to draw from.

Knows drawing and cropping; knows no network.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from avacast.engine.config import SPATIAL_STRIDE
from avacast.training.clips import make_clip

FPS = 25.0
_ACTED_FRAMES = 50
"""Two seconds are acted and only their end is drawn, since many tracks begin with a pause."""


class DrawnClips:
    """uint8 `frames` [N, T, 3, H, W] and `lips` [N, T, H/8, W/8], masks of the lips in 0..1."""

    def __init__(self, first_seed: int, num_clips: int, num_frames: int, size: int) -> None:
        shape = (num_clips, num_frames)
        self.frames = torch.empty(*shape, 3, size, size, dtype=torch.uint8)
        self.lips = torch.empty(*shape, size // SPATIAL_STRIDE, size // SPATIAL_STRIDE)
        for index in tqdm(range(num_clips), "drawing"):
            clip = make_clip(first_seed + index, _ACTED_FRAMES, FPS)
            drawn = clip.frames(_ACTED_FRAMES - num_frames, _ACTED_FRAMES).render(size)
            self.frames[index], self.lips[index] = drawn.frames.permute(0, 3, 1, 2), drawn.lip_mask

    def batches(self, crop: int, batch_size: int, rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Endless crops [B, T, 3, c, c] in 0..1 with lip masks [B, T, 1, c, c], half of them around the mouth."""
        while True:
            chosen = [self._crop(int(i), crop, rng) for i in rng.integers(len(self.frames), size=batch_size)]
            frames = torch.stack([frames for frames, _ in chosen]).float() / 255.0
            lips = torch.stack([lips for _, lips in chosen])
            yield frames, F.interpolate(lips, scale_factor=SPATIAL_STRIDE).unsqueeze(2)

    def _crop(self, index: int, crop: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        cells, span = self.lips.shape[-1], crop // SPATIAL_STRIDE
        top, left = (int(v) for v in rng.integers(cells - span + 1, size=2))
        if rng.random() < 0.5:
            rows, columns = torch.nonzero(self.lips[index, 0] > 0.3, as_tuple=True)
            if len(rows):
                top = int(np.clip(int(rows.float().mean()) - span // 2 + rng.integers(-4, 5), 0, cells - span))
                left = int(np.clip(int(columns.float().mean()) - span // 2 + rng.integers(-4, 5), 0, cells - span))
        lips = self.lips[index, :, top : top + span, left : left + span]
        y, x = top * SPATIAL_STRIDE, left * SPATIAL_STRIDE
        return self.frames[index, :, :, y : y + crop, x : x + crop], lips
