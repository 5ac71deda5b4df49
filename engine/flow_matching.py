"""Flow matching: the noise levels, the Euler step between them, and velocity from a predicted sample.

A latent at noise level sigma is `(1 - sigma) * sample + sigma * noise`; its velocity is `noise - sample`. Knows numbers
and this one line of algebra; knows no network and no window.

Source: Lipman et al., Flow Matching (arXiv 2210.02747); the schedule is diffusers' `FlowMatchEulerDiscreteScheduler`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avacast.engine.errors import BadSetting
from avacast.engine.profile import SamplerConfig

NUM_TRAIN_TIMESTEPS = 1000
"""A timestep is sigma times this."""


@dataclass(frozen=True, eq=False)
class Schedule:
    """The noise levels of one sampling run; made on the CPU."""

    sigmas: Tensor
    """[S+1] float32, falling from 1; the last is 0."""
    timesteps: Tensor
    """[S] float32, what the network is told at each step."""

    @property
    def num_steps(self) -> int:
        return len(self.timesteps)

    def to(self, device: torch.device) -> Schedule:
        """On `device`: a number that lies elsewhere than its tensors makes the host wait at every step."""
        return Schedule(self.sigmas.to(device), self.timesteps.to(device))

    def nearest(self, other: Schedule) -> tuple[int, ...]:
        """For every step of `other`, the step of this schedule that leaves the most similar noise level."""
        distance = (other.sigmas[1:, None] - self.sigmas[None, 1:]).abs()
        return tuple(distance.argmin(dim=1).tolist())

    @classmethod
    def of(cls, config: SamplerConfig) -> Self:
        """The schedule that a model's configuration asks for."""
        create = cls.evenly_spaced if config.spacing == "even" else cls.create
        return create(config.num_steps, config.shift)

    @classmethod
    def create(cls, num_steps: int, shift: float) -> Self:
        """The released schedule, `set_timesteps(num_steps)`.

        Its last step starts from almost no noise (with two steps, sigma 0.009 at shift 3), so it suits many steps;
        for a few, `evenly_spaced` uses them better. Raises BadSetting on settings out of range.
        """
        _check(num_steps, shift)
        return cls._from_diffusers(num_steps, shift, None) or cls._from_sigmas(_released_sigmas(num_steps, shift))

    @classmethod
    def evenly_spaced(cls, num_steps: int, shift: float) -> Self:
        """`set_timesteps(sigmas=[1, (S-1)/S, ... 1/S])`: S equal steps down to 0, then shifted. For few steps.

        Raises BadSetting on settings out of range.
        """
        _check(num_steps, shift)
        even = np.linspace(1, 0, num_steps + 1)[:-1].astype(np.float32)
        return cls._from_diffusers(num_steps, shift, even) or cls._from_sigmas(_shifted(even, shift))

    @classmethod
    def _from_diffusers(cls, num_steps: int, shift: float, sigmas: NDArray[np.float32] | None) -> Self | None:
        """None where diffusers is not installed: training needs nothing else of it, and the formula below agrees."""
        try:
            from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
        except ModuleNotFoundError:
            return None
        scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=NUM_TRAIN_TIMESTEPS, shift=shift)
        scheduler.set_timesteps(num_steps, sigmas=None if sigmas is None else sigmas.tolist())
        return cls(torch.as_tensor(scheduler.sigmas), torch.as_tensor(scheduler.timesteps))

    @classmethod
    def _from_sigmas(cls, sigmas: NDArray[np.floating]) -> Self:
        noisy = torch.from_numpy(sigmas).float()
        return cls(torch.cat((noisy, torch.zeros(1))), noisy * NUM_TRAIN_TIMESTEPS)


@functools.lru_cache(maxsize=16)
def schedule_on(device: torch.device, config: SamplerConfig) -> Schedule:
    """`Schedule.of` where the latents lie: copied there at every change of a profile, it would make the host wait."""
    with torch.inference_mode(False):
        return Schedule.of(config).to(device)


def _check(num_steps: int, shift: float) -> None:
    if num_steps < 1:
        raise BadSetting(f"num_steps is {num_steps}; give at least 1")
    if not 0 < shift < float("inf"):
        raise BadSetting(f"shift is {shift}; give a number above 0")


def _shifted(sigmas: NDArray[np.floating], shift: float) -> NDArray[np.floating]:
    """Spends more of the steps at high noise the larger `shift` is; 1 changes nothing."""
    return shift * sigmas / (1 + (shift - 1) * sigmas)


def _released_sigmas(num_steps: int, shift: float) -> NDArray[np.floating]:
    """Equal steps from 1 to the smallest trained level; that level has been shifted already, and is shifted again."""
    smallest = _shifted(np.array([1 / NUM_TRAIN_TIMESTEPS], dtype=np.float32), shift)[0]
    return _shifted(np.linspace(1.0, float(smallest), num_steps), shift)


def euler_step(latents: Tensor, velocity: Tensor, sigma: Tensor | float, sigma_next: Tensor | float) -> Tensor:
    """Moves latents along their velocity from noise level `sigma` to `sigma_next`; any shape, dtype of `latents`."""
    return latents + ((sigma_next - sigma) * velocity).to(latents.dtype)


def velocity_from_sample(latents: Tensor, sample: Tensor, sigma: Tensor | float) -> Tensor:
    """The velocity that leads from `latents` at noise level `sigma` > 0 to the predicted clean `sample`."""
    return (latents - sample) / sigma
