"""Stage 4: the transformer learns to move the face.

Flow matching with the loss of the StableAvatar paper (arXiv 2508.08248): error weighted by face and lip masks, audio
dropped now and then. Ours weighs the eyes too while they blink. It is trained straight for few steps: noise levels are
drawn around those that the sampler will visit, the first of them (pure noise) most of all, and the error is that of
the clean sample.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avacast.engine.config import TEMPORAL_STRIDE, ModelConfig
from avacast.engine.dit import DiT
from avacast.engine.motion import Motion
from avacast.engine.networks import Networks
from avacast.engine.pipeline import Pipeline
from avacast.engine.reference import Reference
from avacast.training.checkpoint import load_stage
from avacast.training.corpus import CachedClips
from avacast.training.loss import draw_sigmas, flow_matching_loss
from avacast.training.optimiser import Optimiser
from avacast.training.recipe import Recipe
from avacast.training.trainer import Trainer
from avacast.training.validation import validate

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AvatarRecipe(Recipe):
    """Sizes of stage 4."""

    num_clips: int = 1200
    num_latents: int = 9
    window_lengths: tuple[int, ...] = (6, 6, 4)
    """Drawn from at every step: the windows of the profiles, and that of the longest twice."""
    batch_size: int = 12
    num_steps: int = 3200
    lr: float = 1.5e-3
    ema: float = 0.998
    face_weight: float = 1.0
    lip_weight: float = 8.0
    eye_weight: float = 12.0
    """Where lids move: a blink is short and rare, so without it the eyes hardly close."""
    audio_dropout: float = 0.05
    pure_noise: float = 0.3
    """Share of samples at noise level 1, where every stream begins."""
    validate_every: int = 250
    compile: bool = True
    """Let torch.compile fuse the transformer: a quarter off each step, for a minute or two at the start."""


class Windows:
    """Random windows of the cached clips, normalised, with fresh noise."""

    def __init__(self, clips: CachedClips, config: ModelConfig, recipe: AvatarRecipe, seed: int) -> None:
        self._clips, self._config, self._recipe = clips, config, recipe
        self._rng = np.random.default_rng(seed)
        self._mean = torch.tensor(config.vae.latents_mean)[:, None, None, None]
        self._std = torch.tensor(config.vae.latents_std)[:, None, None, None]

    def batch(self) -> dict[str, Tensor]:
        """Sample and noise [B, C, F, h, w], reference [B, 4+C, F, h, w], audio, its mask, weight [B, 1, F, h, w], and
        motion [B, F, 4M] for a model that takes it.
        """
        clips, length = self._clips, int(self._rng.choice(self._recipe.window_lengths))
        chosen: list[dict[str, Tensor]] = []
        for index in self._rng.integers(clips.num_clips, size=self._recipe.batch_size):
            start = int(self._rng.integers(clips.latents.shape[2] - length + 1))
            span = slice(start, start + length)
            reference = Reference(self._normal(clips.reference[index]), self._config.dit.reference_on)
            chosen.append(
                {
                    "sample": self._normal(clips.latents[index, :, span]),
                    "reference": reference.layout(length),
                    "audio": clips.audio[index, span].float(),
                    "audio_mask": clips.audio_mask[index, span],
                    "motion": clips.motion[index, span].float(),
                    "weight": self._weight(index, span)[None],
                }
            )
        batch = {name: torch.stack([row[name] for row in chosen]) for name in chosen[0]}
        heard = torch.from_numpy(self._rng.random(len(chosen)) >= self._recipe.audio_dropout)
        batch["audio_mask"] &= heard[:, None, None]
        batch["sigma"] = draw_sigmas(self._rng, len(chosen), self._config.sampler.shift, self._recipe.pure_noise)
        batch["noise"] = torch.randn_like(batch["sample"])
        if not self._config.dit.motion_dim:
            del batch["motion"]
        return batch

    def _weight(self, index: int, span: slice) -> Tensor:
        """What the error of each cell counts, [F, h, w]: more in the face, at the lips, and at the eyes in a blink."""
        clips, recipe = self._clips, self._recipe
        face, lip = (mask[index, span].float() / 255.0 for mask in (clips.face, clips.lip))
        tracks = clips.motion[index, span].float().unflatten(-1, (TEMPORAL_STRIDE, len(Motion)))
        blink = tracks[..., Motion.BLINK].amax(-1)[:, None, None]
        eyes = clips.eyes[index].float() / 255.0
        return 1.0 + recipe.face_weight * face + recipe.lip_weight * lip + recipe.eye_weight * blink * eyes

    def _normal(self, latents: Tensor) -> Tensor:
        return (latents.float() - self._mean) / self._std


def train_avatar(
    networks: Networks,
    config: ModelConfig,
    recipe: AvatarRecipe,
    clips: CachedClips,
    folder: Path,
    seed: int,
    device: str = "cpu",
    *,
    report: bool = True,
) -> Path:
    """Runs or resumes stage 4. Returns the path of the trained state; `networks.dit` is not changed.

    `report` renders validation clips at every checkpoint.
    """
    torch.manual_seed(seed)
    dit = DiT(config.dit).to(device)
    if recipe.compile:
        dit.compile(dynamic=False)
    optimiser = Optimiser(dit, lr=recipe.lr, num_steps=recipe.num_steps, ema=recipe.ema)
    path = folder / "avatar.pt"
    load_stage(path, dit, optimiser)
    windows = Windows(clips, config, recipe, seed + optimiser.step_index)

    def loss_at(_step: int) -> Tensor:
        return flow_matching_loss(dit, {name: value.to(device) for name, value in windows.batch().items()})

    def on_checkpoint(steps_done: int, running_loss: float) -> None:
        figures = ""
        if report:
            figures = validate(_averaged(networks, config, optimiser), folder / f"avatar_{steps_done:06d}.png")
        log.info("step %d: loss %.4f, %s", steps_done, running_loss, figures)

    trainer = Trainer("avatar", dit, optimiser, path, recipe.num_steps, recipe.validate_every)
    trainer.run(loss_at, on_checkpoint)
    return path


def _averaged(networks: Networks, config: ModelConfig, optimiser: Optimiser) -> Pipeline:
    dit = DiT(config.dit)
    dit.load_state_dict(optimiser.average)
    averaged = Networks(dit, networks.vae, networks.speech_encoder)
    return Pipeline(config, averaged.for_inference(networks.device, networks.dtype))
