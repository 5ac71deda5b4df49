"""Stage 2: the tiny auto-encoder learns to draw.

The `taew2_1` layout has no shortcut around its bottleneck, and from random weights it stalls for a long time. So it
starts as average pooling and nearest upsampling of the colours, written into its own convolutions: three latent
channels carry a small picture from step 0, and training adds the detail.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from avacast.engine.config import SPATIAL_STRIDE, VAEConfig
from avacast.engine.tiny_vae import GrowUpsample, MemoryBlock, Pool, TinyVAE
from avacast.training.checkpoint import load_stage, save_stage
from avacast.training.clips import VALIDATION_SEED, make_clip
from avacast.training.optimiser import Optimiser

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AutoencoderRecipe:
    """Sizes of stage 2."""

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


class _Pool:
    """Short drawn clips in memory: uint8 frames [N, T, 3, H, W] and lip masks [N, T, H/8, W/8]."""

    def __init__(self, recipe: AutoencoderRecipe, first_seed: int, num_clips: int, size: int, fps: float) -> None:
        shape = (num_clips, recipe.num_frames)
        self.frames = torch.empty(*shape, 3, size, size, dtype=torch.uint8)
        self.lips = torch.empty(*shape, size // SPATIAL_STRIDE, size // SPATIAL_STRIDE)
        for index in tqdm(range(num_clips), "drawing"):
            # Two seconds are acted and only their end is drawn, since many tracks begin with a pause.
            drawn = make_clip(first_seed + index, 50, fps).frames(50 - recipe.num_frames, 50).render(size)
            self.frames[index], self.lips[index] = drawn.frames.permute(0, 3, 1, 2), drawn.lip_mask

    def batches(self, recipe: AutoencoderRecipe, rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Endless crops [B, T, 3, c, c] in 0..1 with lip weights [B, T, 1, c, c], half of them around the mouth."""
        while True:
            chosen = [
                self._crop(int(i), recipe.crop, rng) for i in rng.integers(len(self.frames), size=recipe.batch_size)
            ]
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


def train_autoencoder(
    config: VAEConfig, recipe: AutoencoderRecipe, folder: Path, seed: int, size: int, device: str = "cpu"
) -> Path:
    """Runs or resumes stage 2. Returns the path of the trained state."""
    torch.manual_seed(seed)
    vae = TinyVAE(config)
    initialise_as_pooling(vae)
    vae.to(device)
    optimiser = Optimiser(vae, lr=recipe.lr, num_steps=recipe.num_steps, ema=recipe.ema)
    path = folder / "autoencoder.pt"
    load_stage(path, vae, optimiser)
    if optimiser.step_index < recipe.num_steps:
        _run(vae, optimiser, recipe, path, "auto-encoder", seed, size, recipe.num_steps)
    return path


def _run(
    vae: TinyVAE,
    optimiser: Optimiser,
    recipe: AutoencoderRecipe,
    path: Path,
    name: str,
    seed: int,
    size: int,
    num_steps: int,
) -> None:
    """Trains what requires a gradient until `num_steps`, and saves it as `path`."""
    pool = _Pool(recipe, 100_000 + seed, recipe.num_clips, size, 25.0)
    validation = _Pool(recipe, VALIDATION_SEED, 8, size, 25.0)
    done = optimiser.step_index
    batches = pool.batches(recipe, np.random.default_rng(seed + done))
    for step in tqdm(range(done, num_steps), name, initial=done, total=num_steps):
        loss = _loss(vae, recipe, *next(batches))
        optimiser.step(loss)
        if (step + 1) % 100 == 0 or step + 1 == num_steps:
            log.info("step %d: loss %.4f, %s", step + 1, loss.item(), _validate(vae, optimiser, validation))
            save_stage(path, vae, optimiser)


def _loss(vae: TinyVAE, recipe: AutoencoderRecipe, frames: Tensor, lips: Tensor) -> Tensor:
    frames, lips = frames.to(vae.mean.device), lips.to(vae.mean.device)
    with torch.autocast(frames.device.type, torch.bfloat16):
        latents = vae.encode_causal(frames).float()
        # The decoder has to forgive the small errors that the transformer will make.
        spread = latents.detach().std(dim=(0, 2, 3, 4), keepdim=True)
        noisy = latents + recipe.latent_noise * spread * torch.randn_like(latents)
        drawn = vae.decode_unclamped(noisy, None)[0].float()
    loss = drawing_loss(drawn, frames, 1.0 + recipe.lip_weight * lips, recipe.temporal_weight)
    return loss + 1e-4 * latents.square().mean()


def drawing_loss(drawn: Tensor, frames: Tensor, weight: Tensor, temporal_weight: float) -> Tensor:
    """Error of pixels, of edges and of change over time, between `[B, T, 3, H, W]`; `weight` `[B, T, 1, H, W]`."""
    error = drawn - frames
    absolute = (weight * (error.abs() + 4.0 * error.square())).mean()
    edges = (weight[..., 1:, :] * torch.diff(error, dim=3).abs()).mean()
    edges = edges + (weight[..., 1:] * torch.diff(error, dim=4).abs()).mean()
    flicker = (weight[:, 1:] * torch.diff(error, dim=1).abs()).mean()
    return absolute + edges + temporal_weight * flicker


@torch.no_grad()
def _validate(vae: TinyVAE, optimiser: Optimiser, pool: _Pool) -> str:
    """PSNR of whole frames and of the mouth on unseen identities, and how much it flickers; averaged weights."""
    error, mouth, flicker, truth = [], [], [], []
    for index in range(len(pool.frames)):
        frames = pool.frames[index : index + 1].float() / 255.0
        with optimiser.averaged(), torch.autocast(vae.mean.device.type, torch.bfloat16):
            drawn = vae.decode(vae.encode_causal(frames.to(vae.mean.device))).float().cpu()
        square = (drawn - frames).square()
        lips = F.interpolate(pool.lips[index : index + 1], scale_factor=SPATIAL_STRIDE).unsqueeze(2) > 0.3
        error.append(float(square.mean()))
        mouth.append(float(square[lips.expand_as(square)].mean()))
        flicker.append(float(torch.diff(drawn, dim=1).abs().mean()))
        truth.append(float(torch.diff(frames, dim=1).abs().mean()))
    psnr, mouth_psnr = (-10.0 * np.log10(np.mean(values)) for values in (error, mouth))
    return f"{psnr:.2f} dB, mouth {mouth_psnr:.2f} dB, flicker {np.mean(flicker) / np.mean(truth):.2f} of true"
