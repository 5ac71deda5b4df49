"""What the transformer is trained on at each step: clips, noise, and what of the error counts.

A batch is a function of the seed and the step alone, so a run that was stopped goes on exactly as if it had not been.
Knows the recipe's shares; knows no network.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from avacast.engine.config import ModelConfig
from avacast.training.clip_cache import read_clip
from avacast.training.finetune_recipe import FinetuneRecipe
from avacast.training.loss import draw_sigmas


class ClipBatches:
    """Random clips out of the files `clips`, of a model that reads `text` [1, text_len, text_dim] if any."""

    def __init__(
        self, clips: list[Path], config: ModelConfig, recipe: FinetuneRecipe, text: Tensor | None, seed: int
    ) -> None:
        assert clips, "there is nothing to learn from"
        self._clips, self._config, self._recipe, self._seed = clips, config, recipe, seed
        self._text = None if text is None else text.float().cpu()

    def at(self, step: int) -> dict[str, Tensor]:
        """The batch of a step, as `flow_matching_loss` takes it, on the CPU."""
        rng = np.random.default_rng((self._seed, step))
        chosen = [self._clips[index] for index in rng.integers(len(self._clips), size=self._recipe.batch_size)]
        clips = [read_clip(path, self._config) for path in chosen]
        batch = {name: torch.stack([clip[name] for clip in clips]) for name in ("sample", "reference")}
        batch |= _stack_audio(clips)
        if "image" in clips[0]:
            batch["image"] = torch.stack([clip["image"] for clip in clips])
        if self._text is not None:
            batch["text"] = self._text.expand(len(clips), -1, -1)
        if self._config.dit.motion_dim:
            batch["motion"] = torch.stack([resting_motion(self._config, len(clip["audio"])) for clip in clips])
        batch["weight"] = torch.stack([self._weight(clip, rng.random()) for clip in clips])
        batch["heard"] = torch.from_numpy(rng.random(len(clips)) >= self._recipe.audio_dropout)
        pure_noise = self._recipe.pure_noise_for(self._config)
        batch["sigma"] = draw_sigmas(rng, len(clips), self._config.sampler.shift, pure_noise)
        generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
        batch["noise"] = torch.randn(batch["sample"].shape, generator=generator)
        return batch

    def _weight(self, clip: dict[str, Tensor], chance: float) -> Tensor:
        """Weights [1, F, h, w] of mean 1: the face alone, the lips alone, or everything and both once more.

        A mask that is missing is the whole frame. So is one without a single white pixel in this clip.
        """
        if chance < self._recipe.face_only:
            weight = clip["face"]
        elif chance < self._recipe.face_only + self._recipe.lips_only:
            weight = clip["lips"]
        else:
            weight = 1.0 + clip["face"] + clip["lips"]
        mean = weight.mean()
        return (weight / mean if mean > 0 else torch.ones_like(weight))[None]


def resting_motion(config: ModelConfig, num_latents: int) -> Tensor:
    """The motion condition `[F, motion_dim]` of a film, whose head moves as nobody wrote down: at rest."""
    return torch.zeros(num_latents, config.dit.motion_dim)


def _stack_audio(clips: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Tokens [B, F, A, D] and mask [B, F, A]; clips with fewer tokens to a latent frame are padded on the right."""
    width = max(clip["audio_mask"].shape[1] for clip in clips)
    missing = [width - clip["audio_mask"].shape[1] for clip in clips]
    audio = [F.pad(clip["audio"], (0, 0, 0, more)) for clip, more in zip(clips, missing, strict=True)]
    mask = [F.pad(clip["audio_mask"], (0, more)) for clip, more in zip(clips, missing, strict=True)]
    return {"audio": torch.stack(audio), "audio_mask": torch.stack(mask)}
