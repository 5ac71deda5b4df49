"""A window that may take all its steps at once: what it starts from, and what runs it.

Knows what goes in and comes out as tensors; knows neither networks nor streams.

Shapes: C latent channels, F latent frames of the window, O of them overlapped at most, h x w latent cells, S steps.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from avacast.engine.flow_matching import Schedule
from avacast.engine.guidance import Conditioning
from avacast.engine.profile import WindowConfig
from avacast.engine.windows import overlap_weights


@dataclass(frozen=True, eq=False)
class WholeWindow:
    """All that the steps of one window need, when none of them waits for another window."""

    noise: Tensor
    """float32 `[1, C, F, h, w]`"""
    tails: Tensor
    """float32 `[S, 1, C, O, h, w]`: for every step, what the windows before left of the frames that they share."""
    weights: Tensor
    """float32 `[S, O]`: this window's share in every overlapped frame; one where there is nothing to fuse with."""
    schedule: Schedule
    conditions: Conditioning


class LoopCall(Protocol):
    """What runs all steps of a window in place of as many passes."""

    def fits(self, window: WholeWindow) -> bool:
        """Whether it takes windows of these shapes."""
        ...

    def __call__(self, window: WholeWindow) -> Tensor:
        """The window after every step, fused: float32 `[S, 1, C, F, h, w]`, in memory of its own."""
        ...


def fusion_weights(config: WindowConfig, num_steps: int, num_shared: int) -> Tensor:
    """`weights` `[S, O]` of a window that shares its first `num_shared` latent frames with those before, O at most."""
    weights = torch.ones(num_steps, config.overlap)
    ramp = torch.tensor(overlap_weights(config, num_shared), dtype=torch.float32)
    weights[0 if config.fuse_first_step else 1 :, :num_shared] = ramp
    return weights


@functools.lru_cache(maxsize=64)
def weights_on(device: torch.device, config: WindowConfig, num_steps: int, num_shared: int) -> Tensor:
    """`fusion_weights` where the latents lie: copied there anew for every window they would make the host wait."""
    with torch.inference_mode(False):
        return fusion_weights(config, num_steps, num_shared).to(device)
