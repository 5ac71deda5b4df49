"""All denoising steps of one window, with the fusion of its head, as one function of tensors: what a graph captures.

Knows the order of steps. Holds no state of a stream: the tails of the window before come in, this window's go out. It
does what `RingBuffer` does with look-ahead 0, without asking the host anything on the way.

Shapes: B batch, C latent channels, F latent frames of a window, O of them overlapped, h x w latent cells, S steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from avacast.engine.flow_matching import Schedule, euler_step
from avacast.engine.graph import Tensors
from avacast.engine.guidance import Conditioning
from avacast.engine.networks import Networks
from avacast.engine.profile import WindowConfig
from avacast.engine.windows import overlap_weights
from avacast.kernels.overlap_fusion import fuse_overlap

CONDITIONS = ("reference", "audio", "audio_mask", "text", "image", "motion")
"""Inputs that are `Conditioning`'s, by its names; those that a model does not have are left out."""


@dataclass(frozen=True, eq=False)
class WindowLoop:
    """Calling it denoises one window from `noise`; see `inputs` for what it takes."""

    networks: Networks
    sigmas: Tensor
    """[S+1] float32, on the networks' device."""
    timesteps: Tensor
    """[S] float32, likewise."""

    @classmethod
    def of(cls, networks: Networks, schedule: Schedule) -> Self:
        """The loop over `schedule`, whose numbers are moved to the networks' device once."""
        return cls(networks, schedule.sigmas.to(networks.device), schedule.timesteps.to(networks.device))

    def __call__(self, inputs: Tensors) -> dict[str, Tensor]:
        """From `noise` [B, C, F, h, w], `tails` [S, B, C, O, h, w], `weights` [S, O] and the conditions of a window.

        Returns `latents` [B, C, F, h, w], the window after its last step, and `tails` for the next one. `weights` are
        those of this window against the one before, for every step: ones leave a step, or a stream's first window,
        unfused. All of them float32.
        """
        conditions = Conditioning(**{name: inputs[name] for name in CONDITIONS if name in inputs})
        latents, overlap = inputs["noise"], inputs["weights"].shape[1]
        tails: list[Tensor] = []
        for step in range(len(self.timesteps)):
            sigma, sigma_next = self.sigmas[step], self.sigmas[step + 1]
            velocity = self.networks.velocity(latents, sigma, self.timesteps[step], conditions)
            latents = euler_step(latents, velocity, sigma, sigma_next)
            latents = fuse_overlap(latents, inputs["tails"][step], inputs["weights"][step])
            tails.append(latents[:, :, latents.shape[2] - overlap :])
        return {"latents": latents, "tails": torch.stack(tails)}


def fusion_weights(config: WindowConfig, num_steps: int, *, first: bool) -> Tensor:
    """`weights` [S, O] of a stream's `first` window, or of any later one."""
    weights = torch.ones(num_steps, config.overlap)
    if not first:
        weights[0 if config.fuse_first_step else 1 :] = torch.tensor(overlap_weights(config), dtype=torch.float32)
    return weights
