"""The picture that a stream animates: made fit, encoded, and laid out beside the noisy latents.

This module knows pictures and latents; reading a picture file is `portrait`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from avacast.engine.errors import BadPortrait
from avacast.engine.portrait import Picture
from avacast.engine.reference_detail import ReferenceDetail
from avacast.engine.windows import frames_of_latents

NUM_MASK_CHANNELS = 4


def prepare_portrait(picture: Picture, height: int, width: int) -> Tensor:
    """Cuts the centre out in the wanted shape and scales it: float32 `[3, height, width]` in 0..1.

    Raises BadPortrait when `picture` is not uint8 `[H, W, 3]`.
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
        raise BadPortrait(f"a picture is uint8 [H, W, 3], not {picture.dtype} {list(picture.shape)}; convert it first")
    full_height, full_width = picture.shape[:2]
    if (full_height, full_width) == (height, width):
        return _to_tensor(picture)
    from PIL import Image

    scale = min(full_height / height, full_width / width)
    top, left = (full_height - scale * height) / 2, (full_width - scale * width) / 2
    box = (left, top, left + scale * width, top + scale * height)
    resized = Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS, box)
    return _to_tensor(np.array(resized))


def _to_tensor(picture: Picture) -> Tensor:
    """`picture` as float32 `[3, H, W]` in 0..1."""
    return torch.tensor(picture).permute(2, 0, 1).float() / 255


def picture_of(image: Tensor) -> Picture:
    """The picture uint8 `[H, W, 3]` of `image` `[3, H, W]` in 0..1."""
    return (image * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


@dataclass(frozen=True)
class Reference:
    """The encoded picture of one session.

    `latents` is `[C, 1, h, w]` where every latent frame carries the reference. Where only a window's first one does, it
    is `[C, W, h, w]`: the picture followed by mid-grey frames, encoded as one video, as released.
    """

    latents: Tensor
    on: Literal["first", "all"]
    image: Tensor | None = None
    """What CLIP sees in the picture, `[1, 257, clip_dim]`, for a model that looks at it."""
    detail: ReferenceDetail | None = None
    """What the auto-encoder loses of it, for a model whose frames get that back."""
    familiar: bool = True
    """Whether the model was made for pictures like it. Others are animated too, as well as the model can."""

    @classmethod
    def encode(
        cls, encode: Callable[[Tensor], Tensor], picture: Tensor, on: Literal["first", "all"], window: int
    ) -> Reference:
        """Encodes `picture`, `[3, H, W]` in 0..1, for windows of at most `window` latent frames.

        `encode` is the causal encoder: frames `[T, 3, H, W]` to latents `[C, L, h, w]`.
        """
        frames = picture[None]
        if on == "first":
            blank = torch.full_like(picture, 0.5)[None].expand(frames_of_latents(window) - 1, -1, -1, -1)
            frames = torch.cat([frames, blank])
        return cls(encode(frames), on)

    def layout(self, num_latents: int) -> Tensor:
        """Mask and latents for a window of F = `num_latents`, `[4+C, F, h, w]`; the mask is 1 on a reference."""
        channels, available, height, width = self.latents.shape
        if self.on == "all":
            latents = self.latents.expand(channels, num_latents, height, width)
            mask = latents.new_ones(NUM_MASK_CHANNELS, num_latents, height, width)
        else:
            assert num_latents <= available, f"a window of {num_latents} latent frames, the reference has {available}"
            latents = self.latents[:, :num_latents]
            mask = latents.new_zeros(NUM_MASK_CHANNELS, num_latents, height, width)
            mask[:, 0] = 1
        return torch.cat([mask, latents])
