"""Which wav2vec2 tokens each latent frame hears: integers only.

Two answers. `window_split` is the released one: the tokens of a window are stretched over its frames, so that a token's
place depends on the window's length. `stream_split` gives every latent frame the tokens of its own time, whatever
window it is in. Neither knows what a token contains.
"""

from __future__ import annotations

import torch
from torch import Tensor

from avacast.engine.config import TEMPORAL_STRIDE

TOKENS_PER_LATENT_FRAME = 8
"""At 50 tokens and 25 frames a second, four frames to a latent frame."""


def window_ranges(num_tokens: int, num_frames: int) -> list[tuple[int, int]]:
    """First and last token of each latent frame of a window, before any margin; both ends count.

    `num_frames` is in video frames, 4 (latent frames - 1) + 1. Ranges may reach outside [0, num_tokens).
    """
    num_latents = (num_frames - 1) // TEMPORAL_STRIDE + 1
    tokens_per_frame = num_tokens / num_frames
    half = int(tokens_per_frame * TEMPORAL_STRIDE / 2)

    def centred(latent: int) -> tuple[int, int]:
        start = tokens_per_frame * ((latent - 1) * TEMPORAL_STRIDE + 1)
        end = tokens_per_frame * (latent * TEMPORAL_STRIDE + 1)
        centre = int((start + end) / 2) - 1
        return centre - half, centre + half

    # The first latent frame holds one video frame; it ends where the second begins.
    first_end = centred(1)[0]
    return [(first_end - 2 * half, first_end), *(centred(latent) for latent in range(1, num_latents))]


def window_split(num_tokens: int, num_frames: int, margin: int) -> tuple[Tensor, Tensor]:
    """The released split of a window's `num_tokens` over its `num_frames` video frames.

    Returns (index int64 [F, A], mask bool [F, A]): the real tokens of each latent frame first, then padding, whose
    index is 0 and whose mask is False. `margin` widens each range on both sides.
    """
    ranges = window_ranges(num_tokens, num_frames)
    start = torch.tensor([first - margin for first, _ in ranges])
    end = torch.tensor([last + margin for _, last in ranges])
    width = int(end[0] - start[0]) + 1
    # Tokens before the window's first are left out and the rest moves up, so padding is always on the right.
    index = start.clamp(min=0)[:, None] + torch.arange(width)
    mask = index <= end.clamp(max=num_tokens - 1)[:, None]
    return index * mask, mask


def stream_split(first_latent: int, num_latents: int, margin: int) -> Tensor:
    """Absolute token positions int64 [F, A] of `num_latents` latent frames from `first_latent` on; may be negative.

    Latent frame f covers the video frames 4f-3 to 4f, that is the tokens 8f-6 up to but not including 8f+2, at 50 Hz;
    `margin` widens this on both sides.
    """
    latent = torch.arange(first_latent, first_latent + num_latents)
    offset = torch.arange(-6 - margin, TOKENS_PER_LATENT_FRAME - 6 + margin)
    return TOKENS_PER_LATENT_FRAME * latent[:, None] + offset
