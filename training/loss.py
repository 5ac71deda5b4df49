"""The loss of flow matching, weighted by where one looks, for whatever the network predicts.

Knows the algebra of noise levels and which conditions a batch may carry; knows no clips and no optimiser.

Sources: Lipman et al., Flow Matching (arXiv 2210.02747); StableAvatar (arXiv 2508.08248) for the masks.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from avacast.engine.dit import DiT
from avacast.engine.flow_matching import NUM_TRAIN_TIMESTEPS
from avacast.engine.networks import velocity_of

_LOWEST_SIGMA = 0.02


def flow_matching_loss(dit: DiT, batch: dict[str, Tensor]) -> Tensor:
    """Error of the velocity where that is what `dit` predicts, else of the clean sample that its output implies.

    `batch` holds `sample` and `noise` [B, C, F, h, w], `sigma` [B], `reference`, `audio` and `audio_mask` as in
    `DiT.forward`, `weight` [B, 1, F, h, w] of each cell's error; `text`, `image` and `motion` where the model takes
    them. With bool `heard` [B] the audio context after the adapter is zero where it is False, as in the guidance's
    branch without audio. Returns the weighted mean, a scalar.
    """
    sigma = batch["sigma"][:, None, None, None, None]
    noisy = (1.0 - sigma) * batch["sample"] + sigma * batch["noise"]
    with torch.autocast(noisy.device.type, torch.bfloat16):
        output = _predict(dit, noisy, batch).float()
    velocity = velocity_of(dit.config, output, noisy, sigma, batch["reference"])
    if dit.config.prediction == "velocity":
        error = velocity - (batch["noise"] - batch["sample"])
    else:
        error = noisy - sigma * velocity - batch["sample"]
    weight = batch["weight"]
    return (weight * error.square()).mean() / weight.mean()


def draw_sigmas(rng: np.random.Generator, count: int, shift: float, pure_noise: float) -> Tensor:
    """Noise levels [count] in (0, 1], denser at high noise the larger `shift`, as the sampler's schedule is.

    A share `pure_noise` of them is exactly 1, where every stream begins.
    """
    even = rng.random(count) * (1.0 - _LOWEST_SIGMA) + _LOWEST_SIGMA
    shifted = shift * even / (1.0 + (shift - 1.0) * even)
    return torch.from_numpy(np.where(rng.random(count) < pure_noise, 1.0, shifted)).float()


def _predict(dit: DiT, noisy: Tensor, batch: dict[str, Tensor]) -> Tensor:
    window = noisy, batch["sigma"] * NUM_TRAIN_TIMESTEPS, batch["reference"]
    conditions = {name: batch.get(name) for name in ("text", "image", "motion")}
    if "heard" not in batch:
        return dit(*window, batch["audio"], batch["audio_mask"], **conditions)
    context = dit.adapt_audio(*window, batch["audio"], batch["audio_mask"])
    context = context * batch["heard"][:, None, None, None].to(context.dtype)
    return dit.denoise(*window, context, batch["audio_mask"], **conditions)
