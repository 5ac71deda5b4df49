"""Stage 3: the decoder alone learns on, for pictures that are sharper and move evenly.

Of a latent frame the decoder draws four frames. After stage 2 these are soft, and they change too much from one latent
frame to the next and too little in between. Here the encoder stays as it is, so that latents keep their meaning, and
the loss looks where pictures move and asks for as much contrast and as much change as there is in truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from avacast.engine.config import SPATIAL_STRIDE, VAEConfig
from avacast.engine.tiny_vae import TinyVAE
from avacast.training.autoencoder import DrawingRecipe, drawing_loss, train_drawing, with_noise
from avacast.training.checkpoint import averaged_weights

_FIRST_SEED = 200_000
_MOST_MOTION = 8.0
"""Of the mean change: beyond it a pixel counts no more."""
_LEAST_CHANGE = 0.004
"""Of the range of colours, a level: below it change is not told from none."""
_LEAST_CONTRAST = 1e-4


@dataclass(frozen=True)
class DecoderRecipe(DrawingRecipe):
    """Sizes of stage 3."""

    num_clips: int = 600
    num_frames: int = 17
    num_steps: int = 4200
    lr: float = 1e-3
    temporal_weight: float = 4.0
    motion_weight: float = 1.0
    """Of a pixel's error, by how much it changes, of the mean change."""
    change_weight: float = 0.03
    contrast_weight: float = 0.015


def train_decoder(
    config: VAEConfig, recipe: DecoderRecipe, autoencoder: Path, folder: Path, seed: int, size: int, device: str = "cpu"
) -> Path:
    """Runs or resumes stage 3 from stage 2's `autoencoder`. Returns the path of the trained state, encoder included."""
    torch.manual_seed(seed)
    vae = TinyVAE(config)
    vae.load_state_dict(averaged_weights(autoencoder))
    vae.to(device)
    vae.encoder.requires_grad_(False)
    path = folder / "decoder.pt"
    train_drawing(vae, recipe, partial(_loss, vae, recipe), path, first_seed=_FIRST_SEED + seed, size=size)
    return path


def _loss(vae: TinyVAE, recipe: DecoderRecipe, frames: Tensor, lips: Tensor) -> Tensor:
    frames, lips = frames.to(vae.mean.device), lips.to(vae.mean.device)
    with torch.autocast(frames.device.type, torch.bfloat16):
        with torch.no_grad():
            latents = vae.encode_causal(frames).float()
        drawn = vae.decode_unclamped(with_noise(latents, recipe.latent_noise), None)[0].float()
    weight = 1.0 + recipe.lip_weight * lips + recipe.motion_weight * motion(frames)
    loss = drawing_loss(drawn, frames, weight, recipe.temporal_weight)
    loss = loss + recipe.change_weight * log_error(change(drawn), change(frames), _LEAST_CHANGE)
    return loss + recipe.contrast_weight * log_error(contrast(drawn), contrast(frames), _LEAST_CONTRAST)


def motion(frames: Tensor) -> Tensor:
    """How much each pixel of [B, T, 3, H, W] changed from the frame before, of the mean change: [B, T, 1, H, W]."""
    changed = F.pad(torch.diff(frames, dim=1).abs().mean(2, keepdim=True), (0, 0, 0, 0, 0, 0, 1, 0))
    return (changed / (changed.mean() + 1e-4)).clamp(max=_MOST_MOTION)


def change(frames: Tensor) -> Tensor:
    """Mean change of each cell of 8 x 8 pixels of [B, T, 3, H, W] from the frame before: [B, T-1, H/8, W/8]."""
    return F.avg_pool2d(torch.diff(frames, dim=1).abs().mean(2), SPATIAL_STRIDE)


def contrast(frames: Tensor) -> Tensor:
    """Mean squared step of brightness in each cell of 8 x 8 pixels of [B, T, 3, H, W]: [B, T, H/8, W/8]."""
    brightness = frames.mean(2)
    sideways = torch.diff(brightness, dim=-1)[..., :-1, :].square()
    downwards = torch.diff(brightness, dim=-2)[..., :-1].square()
    return F.avg_pool2d(sideways + downwards, SPATIAL_STRIDE, ceil_mode=True)


def log_error(drawn: Tensor, true: Tensor, least: float) -> Tensor:
    """Mean absolute difference of two logarithms: half as much is as wrong as twice as much. A scalar."""
    return ((drawn + least).log() - (true + least).log()).abs().mean()
