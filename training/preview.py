"""A look at a model that is being fine-tuned: one clip, true above generated, as a strip of pictures.

Knows how a window is sampled, without guidance; knows nothing of what is being trained.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avacast.engine.config import ModelConfig
from avacast.engine.flow_matching import Schedule, euler_step
from avacast.engine.networks import Networks
from avacast.engine.noise import window_noise
from avacast.training.clip_batches import resting_motion
from avacast.training.png_file import write_png

_NUM_SHOWN = 8


def write_preview(networks: Networks, config: ModelConfig, clip: dict[str, Tensor], path: Path, num_steps: int) -> None:
    """Writes the strip of a clip from `read_clip` as a PNG, after `num_steps` denoising steps or the model's fewer."""
    generated = generate(networks, config, clip, min(num_steps, config.sampler.num_steps))
    rows = [_strip(networks, latents) for latents in (clip["sample"], generated)]
    write_png(path, np.concatenate(rows))


def generate(networks: Networks, config: ModelConfig, clip: dict[str, Tensor], num_steps: int) -> Tensor:
    """The window of a clip's conditions, float32 latents [C, F, h, w], from the same noise every time."""
    schedule = Schedule.of(replace(config.sampler, num_steps=num_steps))
    num_latents, shape = clip["sample"].shape[1], (config.vae.latent_channels, *config.latent_size)
    with torch.inference_mode():
        image = clip["image"][None].to(networks.device, networks.dtype) if "image" in clip else None
        motion = resting_motion(config, num_latents) if config.dit.motion_dim else None
        conditions = networks.conditions(
            clip["reference"], clip["audio"], clip["audio_mask"], image=image, motion=motion
        )
        latents = window_noise(0, 0, num_latents, shape)[None].to(networks.device)
        for step, (sigma, sigma_next) in enumerate(pairwise(schedule.sigmas)):
            velocity = networks.velocity(latents, sigma, schedule.timesteps[step], conditions)
            latents = euler_step(latents, velocity, sigma, sigma_next)
    return latents[0]


def _strip(networks: Networks, latents: Tensor) -> np.ndarray:
    """Some of the frames side by side, uint8 [H, N*W, 3]."""
    # A live session's lighter decoder would show its own faults.
    with torch.inference_mode():
        frames, _ = replace(networks, live_vae=None).decode(latents[None].to(networks.device), None)
    shown = frames[torch.linspace(0, len(frames) - 1, min(_NUM_SHOWN, len(frames))).round().int().tolist()]
    pictures = (shown * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return np.concatenate(list(pictures), axis=1)
