"""The last stage: the decoder learns to draw what the transformer makes.

A transformer that is asked for the likeliest latents blurs what it is unsure of, and its small errors change from one
latent frame to the next, so that a decoder which only ever saw the encoder's latents shows soft faces that step in
fours. Here it meets the transformer's own latents, made as a live session makes them, beside the drawn truth. The
latents stay what they are: encoder and transformer are not touched.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from avacast.engine.config import SPATIAL_STRIDE, TEMPORAL_STRIDE, ModelConfig
from avacast.engine.latent_stream import LatentStream
from avacast.engine.networks import Networks
from avacast.engine.reference import Reference
from avacast.engine.tiny_vae import TinyVAE
from avacast.engine.windows import latents_for_frames
from avacast.training.autoencoder import drawing_loss
from avacast.training.checkpoint import averaged_weights, load_stage, save_stage
from avacast.training.clips import VALIDATION_SEED, Clip, make_clip
from avacast.training.optimiser import Optimiser

log = logging.getLogger(__name__)

NUM_CONTEXT = 1
"""Latent frames decoded before those that count, so that the decoder has something to remember."""


@dataclass(frozen=True)
class DecoderRecipe:
    """Sizes of the stage."""

    num_clips: int = 160
    clip_frames: int = 49
    """Of a clip, from its start; the ending of it is drawn."""
    num_latents: int = 3
    """Latent frames of a training sample."""
    num_drawn: int = 6
    """Latent frames of each clip that are drawn, at its end; samples are taken from these."""
    crop: int = 96
    batch_size: int = 4
    num_steps: int = 1200
    lr: float = 6e-4
    ema: float = 0.995
    lip_weight: float = 4.0
    temporal_weight: float = 3.0
    """Of the error's change from frame to frame."""
    texture_weight: float = 3.0
    """Of the difference in local gradient energy, which says how sharp a place is and not where its edges lie."""
    validate_every: int = 200


@dataclass(frozen=True)
class _Made:
    """Clips as the transformer makes them and as they were drawn."""

    latents: Tensor
    """`[N, C, NUM_CONTEXT + num_drawn, h, w]`, normalised"""
    frames: Tensor
    """uint8 `[N, 4 * num_drawn, 3, H, W]`"""
    lips: Tensor
    """`[N, 4 * num_drawn, h, w]`, the share of each cell that is mouth"""


def train_decoder(
    networks: Networks, config: ModelConfig, recipe: DecoderRecipe, start: Path, folder: Path, seed: int
) -> Path:
    """Runs or resumes the stage; `networks` hold the trained transformer, `start` the auto-encoder's stage.

    Returns the path of the trained state, which holds encoder and decoder.
    """
    torch.manual_seed(seed)
    device = networks.device
    vae = TinyVAE(config.vae)
    vae.load_state_dict(averaged_weights(start))
    vae.encoder.requires_grad_(requires_grad=False)
    vae.to(device)
    optimiser = Optimiser(vae, lr=recipe.lr, num_steps=recipe.num_steps, ema=recipe.ema)
    path = folder / "decoder.pt"
    load_stage(path, vae, optimiser)
    if optimiser.step_index < recipe.num_steps:
        # Seeds of their own: on the clips that it learned from, the transformer errs less.
        made = make_clips(networks, config, recipe, 400_000 + seed, recipe.num_clips)
        unseen = make_clips(networks, config, recipe, VALIDATION_SEED, 5)
        _run(vae, optimiser, recipe, path, made, unseen)
    return path


def make_clips(
    networks: Networks, config: ModelConfig, recipe: DecoderRecipe, first_seed: int, num_clips: int
) -> _Made:
    """The ends of `num_clips` clips, streamed as a live session streams them."""
    made: list[tuple[Tensor, Tensor, Tensor]] = []
    for seed in tqdm(range(first_seed, first_seed + num_clips), "streaming clips"):
        clip = make_clip(seed, recipe.clip_frames, config.fps)
        latents = streamed(networks, config, clip)[0, :, -(NUM_CONTEXT + recipe.num_drawn) :]
        num_frames = TEMPORAL_STRIDE * recipe.num_drawn
        drawn = clip.frames(recipe.clip_frames - num_frames, recipe.clip_frames).render(config.height)
        made.append((latents.cpu(), drawn.frames.permute(0, 3, 1, 2), drawn.lip_mask))
    return _Made(*(torch.stack(parts) for parts in zip(*made, strict=True)))


@torch.inference_mode()
def streamed(networks: Networks, config: ModelConfig, clip: Clip) -> Tensor:
    """The latents `[1, C, F, h, w]` of a session in the live profile that hears `clip` and moves as it does."""
    portrait = clip.render_portrait(config.height).permute(2, 0, 1).float() / 255
    reference = Reference.encode(networks.encode, portrait, config.dit.reference_on, config.longest_window)
    stream = LatentStream(networks, config, config.profile("mic"), reference, clip.motion_seed)
    stream.features.push(clip.track.samples)
    stream.features.flush()
    end = latents_for_frames(len(clip.performance.jaw))
    pieces: list[Tensor] = []
    while (due := stream.due(end)) is not None:
        stream.accept(due, networks.velocity(due.latents, due.sigma, due.timestep, due.conditions))
        if (latents := stream.pop(end)) is not None:
            pieces.append(latents.float())
    return torch.cat(pieces, dim=2)


def texture(frames: Tensor) -> Tensor:
    """How much the picture changes from pixel to pixel around each place: `[B, T, 3, H, W]` to `[B*T, 3, h, w]`."""
    across = F.pad(torch.diff(frames, dim=4).abs(), (0, 1))
    down = F.pad(torch.diff(frames, dim=3).abs(), (0, 0, 0, 1))
    return F.avg_pool2d((across + down).flatten(0, 1), SPATIAL_STRIDE, stride=SPATIAL_STRIDE // 2)


def _run(vae: TinyVAE, optimiser: Optimiser, recipe: DecoderRecipe, path: Path, made: _Made, unseen: _Made) -> None:
    done = optimiser.step_index
    batches = _batches(made, recipe, np.random.default_rng(done))
    if not done:
        log.info("before: %s", _validate(vae, optimiser, unseen))
    for step in tqdm(range(done, recipe.num_steps), "decoder", initial=done, total=recipe.num_steps):
        loss = _loss(vae, recipe, *(part.to(vae.mean.device) for part in next(batches)))
        optimiser.step(loss)
        if (step + 1) % recipe.validate_every == 0 or step + 1 == recipe.num_steps:
            log.info("step %d: loss %.4f, %s", step + 1, loss.item(), _validate(vae, optimiser, unseen))
            save_stage(path, vae, optimiser)


def _batches(made: _Made, recipe: DecoderRecipe, rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Endless crops: latents `[B, C, NUM_CONTEXT + num_latents, c, c]`, frames in 0..1 and lip shares for the last."""
    while True:
        chosen = [_crop(made, recipe, int(i), rng) for i in rng.integers(len(made.latents), size=recipe.batch_size)]
        latents, frames, lips = (torch.stack(parts) for parts in zip(*chosen, strict=True))
        yield latents, frames.float() / 255, F.interpolate(lips, scale_factor=SPATIAL_STRIDE).unsqueeze(2)


def _crop(made: _Made, recipe: DecoderRecipe, index: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """One sample; half of them lie around the mouth."""
    cells, span = made.lips.shape[-1], recipe.crop // SPATIAL_STRIDE
    first = int(rng.integers(recipe.num_drawn - recipe.num_latents + 1))
    start, stop = TEMPORAL_STRIDE * first, TEMPORAL_STRIDE * (first + recipe.num_latents)
    top, left = (int(v) for v in rng.integers(cells - span + 1, size=2))
    where = torch.nonzero(made.lips[index, start] > 0.3).float()
    if len(where) and rng.random() < 0.5:
        middle = where.mean(dim=0).numpy() - span / 2 + rng.integers(-4, 5, size=2)
        top, left = (int(v) for v in np.clip(middle, 0, cells - span))
    rows, columns = slice(top, top + span), slice(left, left + span)
    y, x = slice(8 * top, 8 * (top + span)), slice(8 * left, 8 * (left + span))
    latents = made.latents[index, :, first : first + NUM_CONTEXT + recipe.num_latents, rows, columns]
    return latents, made.frames[index, start:stop, :, y, x], made.lips[index, start:stop, rows, columns]


def _loss(vae: TinyVAE, recipe: DecoderRecipe, latents: Tensor, frames: Tensor, lips: Tensor) -> Tensor:
    with torch.autocast(frames.device.type, torch.bfloat16):
        drawn = vae.decode_unclamped(latents, None)[0][:, -frames.shape[1] :].float()
    sharpness = (texture(drawn) - texture(frames)).abs().mean()
    loss = drawing_loss(drawn, frames, 1 + recipe.lip_weight * lips, recipe.temporal_weight)
    return loss + recipe.texture_weight * sharpness


@torch.no_grad()
def _validate(vae: TinyVAE, optimiser: Optimiser, made: _Made) -> str:
    """PSNR, sharpness and flicker against the truth, and the step between latent frames against that within them."""
    frames = made.frames.float() / 255
    with optimiser.averaged(), torch.autocast(vae.mean.device.type, torch.bfloat16):
        drawn = torch.cat([vae.decode(one[None].to(vae.mean.device)) for one in made.latents])
    drawn = drawn[:, -frames.shape[1] :].float().cpu()
    psnr_db = -10 * float((drawn - frames).square().mean().log10())
    sharpness = float(texture(drawn).mean() / texture(frames).mean())
    change, true_change = (torch.diff(x, dim=1).abs().mean(dim=(0, 2, 3, 4)) for x in (drawn, frames))
    joint = torch.arange(1, len(change) + 1) % TEMPORAL_STRIDE == 0
    step = float(change[joint].mean() / change[~joint].mean())
    flicker = float(change.mean() / true_change.mean())
    return f"{psnr_db:.2f} dB, sharpness {sharpness:.2f}, flicker {flicker:.2f} of true, latent joint {step:.2f}"
