"""Fusing the head of one window with the tail of the one before it.

This module knows one formula. It does not know where windows lie, what the weights mean or when fusion is due.
"""

from __future__ import annotations

import torch
from torch import Tensor


def fuse_overlap(new: Tensor, previous: Tensor, weights: Tensor) -> Tensor:
    """Blends the first O frames of `new` with `previous`: `w * new + (1 - w) * previous`.

    Args:
        new: a window of latents, `[B, C, F, H, W]` with F >= O.
        previous: the tail of the window before it, the same frames of the stream, `[B, C, O, H, W]`.
        weights: the weight of `new` for every overlapped frame, `[O]`, 0 (all previous) to 1 (all new).

    Returns:
        The window with its head fused, `[B, C, F, H, W]`, in memory of its own; neither input is written to.
    """
    overlap = weights.shape[0]
    assert previous.shape[2] == overlap, f"{previous.shape[2]} previous frames for {overlap} weights"
    assert new.shape[2] >= overlap, f"a window of {new.shape[2]} frames has no overlap of {overlap}"
    w = weights.to(new).view(1, 1, overlap, 1, 1)
    head = w * new[:, :, :overlap] + (1 - w) * previous
    return torch.cat([head, new[:, :, overlap:]], dim=2)
