"""Which windows take all their steps in one call: those for which that is faster here than one pass after another.

Knows which windows of a model's profiles can stand alone, and how both ways are timed on one; how the choice is told is
`plan_timing`'s.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from avacast.engine.captured_session import CapturedLoop, CapturedSession, captured_loop
from avacast.engine.config import ModelConfig
from avacast.engine.flow_matching import Schedule, euler_step
from avacast.engine.guidance import Conditioning
from avacast.engine.networks import Networks
from avacast.engine.plan import PlannedDiT
from avacast.engine.plan_timing import Choice, Timing, both_ms
from avacast.engine.profile import Profile
from avacast.engine.static_form import IMAGE_TOKENS, StaticShape
from avacast.engine.whole_window import WholeWindow, weights_on
from avacast.engine.window_loop import loop_signature
from avacast.kernels.overlap_fusion import fuse_overlap

PASSES = "passes one by one"


def choose_loop(config: ModelConfig, networks: Networks) -> tuple[CapturedLoop | None, tuple[Choice, ...]]:
    """All passes of a window as one captured call, for the windows of `config`'s live profiles where it is faster.

    The passes it is timed against are those of `networks`, in whatever they run. What cannot be captured is left out
    with its reason.
    """
    chosen: list[CapturedSession] = []
    choices: list[Choice] = []
    for profile in live_windows(config):
        name = f"window of {profile.window.window} latent frames, {schedule_of(config, profile).num_steps} steps"
        try:
            pool = next((session.pool for session in chosen), None)
            session = _captured(config, networks, profile, pool)
        except RuntimeError as error:
            choices.append(Choice(name, PASSES, " ".join(f"it cannot be captured ({error})".split())[:500]))
            continue
        loop, window = CapturedLoop(networks.dit, [session]), example(config, networks, profile)
        times = both_ms(lambda: loop(window), lambda: in_passes(networks, window))  # noqa: B023  # called at once
        timing = Timing(name, f"{session.runtime}, all steps", *times, PASSES)
        choices.append(timing.choice())
        if timing.graph_is_faster:
            chosen.append(session)
    planned = networks.plans.dit
    still = planned.still if isinstance(planned, PlannedDiT) else None
    return CapturedLoop(networks.dit, chosen, still) if chosen else None, tuple(choices)


def live_windows(config: ModelConfig) -> Iterable[Profile]:
    """The live profiles and their idles, without those that always look ahead and those that equal another here."""
    found: dict[tuple[int, int, int], Profile] = {}
    for name in ("mic", "tts"):
        profile = config.profile(name)
        for one in (profile, config.idle(profile)):
            if not one.lookahead or one.patience == "take":
                key = one.window.window, one.window.overlap, schedule_of(config, one).num_steps
                found.setdefault(key, one)
    return found.values()


def schedule_of(config: ModelConfig, profile: Profile) -> Schedule:
    return Schedule.of(profile.sampler or config.sampler)


def example(config: ModelConfig, networks: Networks, profile: Profile) -> WholeWindow:
    """A window of zeros in the middle of a stream."""
    schedule = schedule_of(config, profile).to(networks.device)
    signature = loop_signature(StaticShape(config, profile, 1, networks.dtype), schedule.num_steps)
    given = signature.zeros(networks.device)
    dit = config.dit
    conditions = Conditioning(
        **{name: given[name] for name in ("reference", "audio", "audio_mask", "motion") if name in given},
        text=None if networks.text is None else networks.text.positive,
        image=given["reference"].new_zeros(1, IMAGE_TOKENS, dit.clip_dim) if dit.clip_dim else None,
    )
    weights = weights_on(networks.device, profile.window, schedule.num_steps, profile.window.overlap)
    return WholeWindow(given["noise"], given["tails"], weights, schedule, conditions)


def in_passes(networks: Networks, window: WholeWindow) -> Tensor:
    """What a loop does, as a session does it pass by pass."""
    latents, schedule, windows = window.noise, window.schedule, list[Tensor]()
    for step, (tail, weight) in enumerate(zip(window.tails, window.weights, strict=True)):
        sigma, timestep = schedule.sigmas[step], schedule.timesteps[step]
        velocity = networks.velocity(latents, sigma, timestep, window.conditions)
        latents = fuse_overlap(euler_step(latents, velocity, sigma, schedule.sigmas[step + 1]), tail, weight)
        windows.append(latents)
    return torch.stack(windows)


def _captured(config: ModelConfig, networks: Networks, profile: Profile, pool: Any) -> CapturedSession:
    shape = StaticShape(config, profile, 1, networks.dtype)
    return captured_loop(networks.dit, shape, schedule_of(config, profile).num_steps, pool=pool)
