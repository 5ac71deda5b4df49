"""Noise levels and the step between them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from avacast.engine.errors import BadSetting
from avacast.engine.flow_matching import Schedule, euler_step, schedule_on, velocity_from_sample
from avacast.engine.profile import SamplerConfig


def test_the_schedule_is_the_released_one(windows_golden: Path):
    """Sigmas and timesteps are those that the released loop ran with."""
    io = load_file(windows_golden.with_suffix(".safetensors"))
    schedule = Schedule.create(len(io["timesteps"]), shift=5.0)
    assert torch.equal(schedule.sigmas, io["sigmas"])
    assert torch.equal(schedule.timesteps, io["timesteps"])


@pytest.mark.parametrize("create", [Schedule.create, Schedule.evenly_spaced])
@pytest.mark.parametrize("shift", [1.0, 3.0, 5.0, 7.5])
def test_without_diffusers_the_schedule_is_the_same(create, shift: float, monkeypatch: pytest.MonkeyPatch):  # noqa: ANN001  # a bound classmethod
    """Where diffusers is not installed, our formula gives its numbers."""
    with_diffusers = [create(num_steps, shift) for num_steps in (1, 2, 3, 4, 10, 40, 50)]
    monkeypatch.setitem(sys.modules, "diffusers.schedulers.scheduling_flow_match_euler_discrete", None)
    for expected in with_diffusers:
        schedule = create(len(expected.timesteps), shift)
        torch.testing.assert_close(schedule.sigmas, expected.sigmas, rtol=1e-6, atol=0)
        torch.testing.assert_close(schedule.timesteps, expected.timesteps, rtol=1e-6, atol=0)


def test_evenly_spaced_steps_are_equal_before_the_shift():
    """At shift 1 the steps are equal; at shift 3 two steps meet at three quarters of noise."""
    torch.testing.assert_close(Schedule.evenly_spaced(4, 1.0).sigmas, torch.tensor([1.0, 0.75, 0.5, 0.25, 0.0]))
    torch.testing.assert_close(Schedule.evenly_spaced(2, 3.0).sigmas, torch.tensor([1.0, 0.75, 0.0]))


@pytest.mark.parametrize(("num_steps", "shift"), [(0, 5.0), (-1, 5.0), (4, 0.0), (4, -1.0), (4, float("nan"))])
def test_a_setting_out_of_range_is_refused(num_steps: int, shift: float):
    """A schedule needs at least one step and a positive, finite shift."""
    with pytest.raises(BadSetting):
        Schedule.create(num_steps, shift)


@given(sigma=st.floats(0.01, 1.0), portion=st.floats(0.0, 1.0))
def test_a_step_along_the_true_velocity_stays_on_the_flow(sigma: float, portion: float):
    """From any noise level, the velocity of the true sample leads to the mixture of any lower level."""
    generator = torch.Generator().manual_seed(0)
    sample, noise = torch.randn((2, 3, 4), generator=generator, dtype=torch.float64)
    lower = sigma * portion
    latents = (1 - sigma) * sample + sigma * noise
    velocity = velocity_from_sample(latents, sample, sigma)
    torch.testing.assert_close(velocity, noise - sample)
    torch.testing.assert_close(euler_step(latents, velocity, sigma, lower), (1 - lower) * sample + lower * noise)


def test_a_schedule_is_made_once_for_a_device():
    """Sessions that change their profile to and fro copy nothing; it is the one that the settings ask for."""
    config, cpu = SamplerConfig(num_steps=3, shift=3.0, spacing="even"), torch.device("cpu")
    schedule = schedule_on(cpu, config)
    assert schedule_on(cpu, SamplerConfig(num_steps=3, shift=3.0, spacing="even")) is schedule
    assert torch.equal(schedule.sigmas, Schedule.of(config).sigmas)
    assert not schedule.sigmas.is_inference()
