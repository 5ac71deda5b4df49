"""Stage 2: the tiny auto-encoder learns to draw.

The `taew2_1` layout has no shortcut around its bottleneck, and from random weights it stalls for a long time. So it
starts as average pooling and nearest upsampling of the colours, written into its own convolutions: three latent
channels carry a small picture from step 0, and training adds the detail.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from avacast.engine.config import SPATIAL_STRIDE, VAEConfig
from avacast.engine.grow_upsample import GrowUpsample
from avacast.engine.tiny_vae import MemoryBlock, Pool, TinyVAE
from avacast.training.checkpoint import load_stage, save_stage
from avacast.training.clips import VALIDATION_SEED
from avacast.training.drawn_clips import DrawnClips
from avacast.training.optimiser import Optimiser
from avacast.training.recipe import Recipe

log = logging.getLogger(__name__)

_FIRST_SEED = 100_000
_VALIDATION_FRAMES = 9


@dataclass(frozen=True)
class DrawingRecipe(Recipe):
    """Sizes of a stage that learns to draw clips."""

    num_clips: int = 800
    num_frames: int = 9
    crop: int = 96
    batch_size: int = 4
    num_steps: int = 3800
    lr: float = 2e-3
    ema: float = 0.995
    lip_weight: float = 4.0
    temporal_weight: float = 2.0
    """Of the error's change from frame to frame: what flickers."""
    latent_noise: float = 0.06


@dataclass(frozen=True)
class AutoencoderRecipe(DrawingRecipe):
    """Sizes of stage 2."""


@torch.no_grad()
def initialise_as_pooling(vae: TinyVAE) -> None:
    """Makes an untrained auto-encoder pool colours into latents 0 to 2 and upsample them back.

    Memory blocks start as the identity; every other weight starts small and random, so that gradients flow.
    """
    for module in vae.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:  # pyright: ignore[reportUnnecessaryComparison]  # torch's stub omits None
                module.bias.zero_()
    for module in vae.modules():
        if isinstance(module, MemoryBlock):
            last = module.conv[-1]
            assert isinstance(last, nn.Conv2d)
            last.weight.mul_(0.1)
            # The colours pass untouched until training wants otherwise.
            last.weight[:3] = 0.0
        elif isinstance(module, Pool | GrowUpsample):
            _carry_colours(module.conv, 1.0 / module.stride if isinstance(module, Pool) else 1.0, module.stride)
    for layer in (*vae.encoder, *vae.decoder):
        if isinstance(layer, nn.Conv2d):
            _carry_colours(layer, 1.0, 1)


def _carry_colours(conv: nn.Conv2d, gain: float, stride: int) -> None:
    """Three channels pass unchanged; over a time stride they are averaged (pooling) or copied (growth)."""
    centre = conv.kernel_size[0] // 2
    for group in range(stride):
        out_offset = group * (conv.out_channels // stride) if gain == 1.0 else 0
        in_offset = group * (conv.in_channels // stride) if gain != 1.0 else 0
        for channel in range(3):
            row = conv.weight[out_offset + channel]
            if group == 0 or gain == 1.0:
                row.zero_()
            taps = slice(centre, centre + conv.stride[0])
            # A strided convolution averages the cells it would otherwise skip.
            row[in_offset + channel, taps, taps] = gain / conv.stride[0] ** 2


def train_autoencoder(
    config: VAEConfig, recipe: AutoencoderRecipe, folder: Path, seed: int, size: int, device: str = "cpu"
) -> Path:
    """Runs or resumes stage 2. Returns the path of the trained state."""
    torch.manual_seed(seed)
    vae = TinyVAE(config)
    initialise_as_pooling(vae)
    vae.to(device)
    path = folder / "autoencoder.pt"
    train_drawing(vae, recipe, partial(_loss, vae, recipe), path, first_seed=_FIRST_SEED + seed, size=size)
    return path


def train_drawing(
    vae: TinyVAE,
    recipe: DrawingRecipe,
    loss_of: Callable[[Tensor, Tensor], Tensor],
    path: Path,
    *,
    first_seed: int,
    size: int,
) -> None:
    """Trains what requires a gradient, on clips from `first_seed` on, and saves it as `path`, or goes on from there.

    `loss_of` takes a batch's frames [B, T, 3, c, c] and lip masks [B, T, 1, c, c].
    """
    optimiser = Optimiser(vae, lr=recipe.lr, num_steps=recipe.num_steps, ema=recipe.ema)
    load_stage(path, vae, optimiser)
    done, num_steps = optimiser.step_index, recipe.num_steps
    if done >= num_steps:
        return
    clips = DrawnClips(first_seed, recipe.num_clips, recipe.num_frames, size)
    batches = clips.batches(recipe.crop, recipe.batch_size, np.random.default_rng(first_seed + done))
    validation = DrawnClips(VALIDATION_SEED, 8, _VALIDATION_FRAMES, size)
    for step in tqdm(range(done, num_steps), path.stem, initial=done, total=num_steps):
        loss = loss_of(*next(batches))
        optimiser.step(loss)
        if (step + 1) % 100 == 0 or step + 1 == num_steps:
            log.info("step %d: loss %.4f, %s", step + 1, loss.item(), _validate(vae, optimiser, validation))
            save_stage(path, vae, optimiser)


def _loss(vae: TinyVAE, recipe: AutoencoderRecipe, frames: Tensor, lips: Tensor) -> Tensor:
    frames, lips = frames.to(vae.mean.device), lips.to(vae.mean.device)
    with torch.autocast(frames.device.type, torch.bfloat16):
        latents = vae.encode_causal(frames).float()
        drawn = vae.decode_unclamped(with_noise(latents, recipe.latent_noise), None)[0].float()
    loss = drawing_loss(drawn, frames, 1.0 + recipe.lip_weight * lips, recipe.temporal_weight)
    return loss + 1e-4 * latents.square().mean()


def with_noise(latents: Tensor, share: float) -> Tensor:
    """Latents [B, C, F, h, w] with noise of `share` of their spread: the small errors that the transformer makes."""
    spread = latents.detach().std(dim=(0, 2, 3, 4), keepdim=True)
    return latents + share * spread * torch.randn_like(latents)


def drawing_loss(drawn: Tensor, frames: Tensor, weight: Tensor, temporal_weight: float) -> Tensor:
    """Error of pixels, of edges and of change over time, between `[B, T, 3, H, W]`; `weight` `[B, T, 1, H, W]`."""
    error = drawn - frames
    absolute = (weight * (error.abs() + 4.0 * error.square())).mean()
    edges = (weight[..., 1:, :] * torch.diff(error, dim=3).abs()).mean()
    edges = edges + (weight[..., 1:] * torch.diff(error, dim=4).abs()).mean()
    flicker = (weight[:, 1:] * torch.diff(error, dim=1).abs()).mean()
    return absolute + edges + temporal_weight * flicker


@torch.no_grad()
def _validate(vae: TinyVAE, optimiser: Optimiser, clips: DrawnClips) -> str:
    """PSNR of whole frames and of the mouth on unseen identities, and how much it flickers; averaged weights."""
    error, mouth, flicker, truth = [], [], [], []
    for index in range(len(clips.frames)):
        frames = clips.frames[index : index + 1].float() / 255.0
        with optimiser.averaged(), torch.autocast(vae.mean.device.type, torch.bfloat16):
            drawn = vae.decode(vae.encode_causal(frames.to(vae.mean.device))).float().cpu()
        square = (drawn - frames).square()
        lips = F.interpolate(clips.lips[index : index + 1], scale_factor=SPATIAL_STRIDE).unsqueeze(2) > 0.3
        error.append(float(square.mean()))
        mouth.append(float(square[lips.expand_as(square)].mean()))
        flicker.append(float(torch.diff(drawn, dim=1).abs().mean()))
        truth.append(float(torch.diff(frames, dim=1).abs().mean()))
    psnr, mouth_psnr = (-10.0 * np.log10(np.mean(values)) for values in (error, mouth))
    return f"{psnr:.2f} dB, mouth {mouth_psnr:.2f} dB, flicker {np.mean(flicker) / np.mean(truth):.2f} of true"
