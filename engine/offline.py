"""The released sampling loop over a whole video: timestep outside, windows inside, fusion in both directions.

The reference against which the streaming loop is judged. It needs all audio before it starts and memory for the whole
video; `ring_buffer.py` is what a live session uses. Source: StableAvatar (arXiv 2508.08248) and its inference code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from avacast.engine.flow_matching import Schedule, euler_step
from avacast.engine.profile import WindowConfig
from avacast.engine.windows import WindowPlan, overlap_weights
from avacast.kernels.overlap_fusion import fuse_overlap

Velocity: TypeAlias = Callable[[Tensor, int, int], Tensor]
"""(latents of one window `[B, C, F, H, W]`, step, first latent frame) -> velocity, same shape."""


def offline_loop(noise: Tensor, schedule: Schedule, config: WindowConfig, velocity: Velocity) -> Tensor:
    """Denoises a whole video, `[B, C, L, H, W]` to `[B, C, L, H, W]`: every step of `offline_step` in turn."""
    latents = noise
    for step in range(len(schedule.timesteps)):
        latents = offline_step(latents, step, schedule, config, velocity)
    return latents


def offline_step(latents: Tensor, step: int, schedule: Schedule, config: WindowConfig, velocity: Velocity) -> Tensor:
    """One denoising step of a whole video `[B, C, L, H, W]`, the shape that it returns.

    The windows run left to right from the same step's input. Where one overlaps the window before it, both go on from
    the fused value; on a first step that is not fused, the later window wins.
    """
    plan = WindowPlan.from_config(config)
    weights = torch.tensor(overlap_weights(config), dtype=torch.float32)
    num_latents = latents.shape[2]
    fused = torch.empty_like(latents)
    for index in range(plan.num_windows(num_latents)):
        start, stop = plan.span(index, num_latents)
        window = latents[:, :, start:stop]
        sigma, sigma_next = schedule.sigmas[step], schedule.sigmas[step + 1]
        window = euler_step(window, velocity(window, step, start), sigma, sigma_next)
        if index > 0 and (step > 0 or config.fuse_first_step):
            window = fuse_overlap(window, fused[:, :, start : start + plan.overlap], weights)
        fused[:, :, start:stop] = window
    return fused
