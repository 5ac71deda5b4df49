"""The cached corpus of stage 4: clips as latents, speech tokens and masks, drawn and encoded once.

The auto-encoder and the speech encoder are frozen by now, so nothing is drawn twice. Tokens come from the very class
that a live session uses, on the same schedule.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from avacast.engine.audio_features import encode_clip
from avacast.engine.config import TEMPORAL_STRIDE, ModelConfig
from avacast.engine.motion import motion_of_latents
from avacast.engine.mouth import Box
from avacast.engine.networks import Networks
from avacast.engine.windows import frames_of_latents
from avacast.training.clips import make_clip
from avacast.training.face_renderer import CELL, face_boxes

TRACK_LATENTS = 26
"""Latent frames of a clip's spoken track, about four seconds."""


@dataclass(frozen=True)
class CachedClips:
    """N clips of L latent frames, as the transformer sees them."""

    latents: Tensor
    """bfloat16 [N, C, L, h, w], as the auto-encoder gives them (not yet normalised)."""
    reference: Tensor
    """bfloat16 [N, C, 1, h, w]."""
    audio: Tensor
    """bfloat16 [N, L, A, D]."""
    audio_mask: Tensor
    """bool [N, L, A]."""
    motion: Tensor
    """bfloat16 [N, L, 4M], how the head moves."""
    face: Tensor
    """uint8 [N, L, h, w], share of each cell that is face, of 255."""
    lip: Tensor
    """uint8 [N, L, h, w], likewise for the mouth."""
    eyes: Tensor
    """uint8 [N, h, w], likewise for where the eyes are through all usual motion."""

    @property
    def num_clips(self) -> int:
        return len(self.latents)

    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of every latent channel, over the first clips: more would change nothing."""
        values = self.latents[:400].float()
        mean, std = values.mean(dim=(0, 2, 3, 4)), values.std(dim=(0, 2, 3, 4))
        return tuple(mean.tolist()), tuple(std.tolist())

    def save(self, path: Path) -> None:
        beside = path.with_suffix(".tmp")
        torch.save(vars(self), beside)
        beside.replace(path)

    @classmethod
    def load(cls, path: Path) -> CachedClips:
        return cls(**torch.load(path, weights_only=True, mmap=True))


def cache_clips(
    networks: Networks, config: ModelConfig, folder: Path, *, first_seed: int, num_clips: int, num_latents: int
) -> list[Path]:
    """Draws and encodes clips in parts of 50, skipping the parts that are there. Returns the parts' paths."""
    folder.mkdir(parents=True, exist_ok=True)
    part_size = min(50, num_clips)
    paths: list[Path] = []
    with tqdm(total=num_clips, desc="caching clips") as bar:
        for start in range(0, num_clips, part_size):
            path = folder / f"clips_{first_seed + start}_{part_size}x{num_latents}.pt"
            if not path.exists():
                seeds = range(first_seed + start, first_seed + start + part_size)
                _stack([_encode(networks, config, seed, num_latents) for seed in seeds]).save(path)
            paths.append(path)
            bar.update(part_size)
    return paths


def _encode(networks: Networks, config: ModelConfig, seed: int, num_latents: int) -> CachedClips:
    """One clip: a long track is spoken and heard, but only `num_latents` latent frames of it are drawn."""
    clip = make_clip(seed, frames_of_latents(TRACK_LATENTS), config.fps)
    start = _span_start(seed, num_latents)
    # The frame before the span stands in for the encoder's past; its latent is dropped again.
    first, last = max(0, TEMPORAL_STRIDE * (start - 1)), TEMPORAL_STRIDE * (start + num_latents - 1)
    device = str(networks.device)
    drawn = clip.frames(first, last + 1).render(config.height, device)
    portrait = clip.render_portrait(config.height, device)
    dropped = 1 if start else 0
    with torch.inference_mode():
        latents = networks.encode(drawn.frames.permute(0, 3, 1, 2).float() / 255.0)[:, dropped:]
        reference = networks.encode(portrait.permute(2, 0, 1)[None].float() / 255.0)
    audio, audio_mask = encode_clip(
        networks.speech_encoder, config.audio, clip.track.samples, TRACK_LATENTS, hop=config.profile("mic").window.hop
    )
    span = slice(start, start + num_latents)
    return CachedClips(
        latents.bfloat16().cpu(),
        reference.bfloat16().cpu(),
        audio[span].bfloat16().cpu(),
        audio_mask[span].cpu(),
        torch.from_numpy(motion_of_latents(clip.motion_seed, span.start, span.stop, config.fps)).bfloat16(),
        _per_latent(drawn.face_mask)[dropped:].cpu(),
        _per_latent(drawn.lip_mask)[dropped:].cpu(),
        _cells(face_boxes(clip.identity, config.height).eyes, config.height),
    )


def _span_start(seed: int, num_latents: int) -> int:
    """Where a clip's drawn span begins: one in six at the start of the stream, the others anywhere after it."""
    rng = np.random.default_rng((seed, num_latents))
    return 0 if rng.random() < 1 / 6 else int(rng.integers(1, TRACK_LATENTS - num_latents + 1))


def _per_latent(mask: Tensor) -> Tensor:
    """Masks of video frames [4L-3, h, w] to the union over each latent frame, uint8 [L, h, w]."""
    padded = F.pad(mask, (0, 0, 0, 0, TEMPORAL_STRIDE - 1, 0))
    groups = padded.unflatten(0, (-1, TEMPORAL_STRIDE)).amax(dim=1)
    return (groups * 255).round().to(torch.uint8)


def _cells(box: Box, size: int) -> Tensor:
    """The share of each cell that is in the box, of 255: uint8 [h, w]."""
    top, left, bottom, right = box
    inside = torch.zeros(1, size, size)
    inside[:, max(0, top) : bottom, max(0, left) : right] = 255.0
    return F.avg_pool2d(inside, CELL)[0].round().to(torch.uint8)


def _stack(clips: list[CachedClips]) -> CachedClips:
    return CachedClips(**{name: torch.stack([getattr(clip, name) for clip in clips]) for name in vars(clips[0])})


def load_clips(paths: list[Path]) -> CachedClips:
    """All parts as one, in memory."""
    parts = [CachedClips.load(path) for path in paths]
    return CachedClips(**{name: torch.cat([getattr(part, name) for part in parts]) for name in vars(parts[0])})
