"""From sound to latents: the windows of one stream, conditioned, denoised pass by pass, fused, and handed out once.

Whoever owns a stream asks for the pass that is `due`, has the network run it (alone or in a batch), and hands the
velocity to `accept`; `pop` gives what has become final. Knows features, conditions and the ring; knows no pixels, and
runs no transformer itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from avacast.engine.audio_features import Features, open_features
from avacast.engine.config import ModelConfig
from avacast.engine.errors import BadSetting
from avacast.engine.flow_matching import Schedule, euler_step, schedule_on
from avacast.engine.guidance import Conditioning
from avacast.engine.motion import motion_of_latents
from avacast.engine.networks import Networks
from avacast.engine.noise import window_noise
from avacast.engine.offload import Move
from avacast.engine.profile import Profile, WindowConfig
from avacast.engine.reference import Reference
from avacast.engine.ring_buffer import RingBuffer, RingState
from avacast.engine.side_stream import lines_of, sent
from avacast.engine.wavefront import Pass, step_lags
from avacast.engine.whole_window import WholeWindow, weights_on

_HOST = torch.device("cpu")


@dataclass(frozen=True)
class DuePass:
    """What the network is asked for next: one window at one step."""

    number: Pass
    latents: Tensor
    """float32 `[1, C, F, h, w]`"""
    sigma: Tensor
    timestep: Tensor
    conditions: Conditioning


@dataclass(frozen=True)
class LatentState:
    """All that a stream of latents remembers, taken between two calls. Restoring it does not use it up."""

    profile: Profile
    schedule: Schedule
    next_profile: tuple[Profile, Schedule] | None
    features: Features
    ring: tuple[WindowConfig, RingState]
    conditions: dict[int, Conditioning]

    def moved(self, move: Move) -> LatentState:
        """The same with its lines of latents elsewhere; what else it holds is small, or shared by the whole stream."""
        config, ring = self.ring
        return replace(self, ring=(config, ring.moved(move)))

    @property
    def tensors(self) -> list[Tensor]:
        """Those that `moved` moves."""
        return self.ring[1].tensors


class LatentStream:
    """The windows in flight, and the sound that the next ones will hear.

    There is no random generator among its state: noise and motion are functions of the seed and the frame.
    """

    def __init__(
        self, networks: Networks, config: ModelConfig, profile: Profile, reference: Reference, seed: int
    ) -> None:
        self._networks = networks
        self._config = config
        self._reference = reference
        self._seed = seed
        self._profile = profile
        self._schedule = self._schedule_of(profile)
        self._next_profile: tuple[Profile, Schedule] | None = None
        self.features = open_features(networks.hearing, config, profile.window)
        self._ring = RingBuffer(profile.window, self._schedule.num_steps)
        self._conditions: dict[int, Conditioning] = {}
        """Of the windows in flight, by window."""
        with lines_of(networks.device).listening.after_main():
            pass  # what is heard waits for nothing of the main line but the networks, which may have just been made

    @property
    def profile(self) -> Profile:
        """The profile that is asked for; it holds from the next window on."""
        return self._next_profile[0] if self._next_profile else self._profile

    @property
    def num_left(self) -> int:
        """Latent frames that were handed out so far."""
        return self._ring.num_left

    def change_profile(self, profile: Profile) -> None:
        """Goes on in another profile from the next window; windows in flight finish first. Raises BadSetting."""
        self._next_profile = (profile, self._schedule_of(profile))

    def due(self, end: int | None) -> DuePass | None:
        """The network's next pass, if there is sound for it; `end` is the number of all latent frames once known."""
        while (number := self._ring.due(end)) is None:
            if not self._admit(end):
                return None
        window, step = number
        start, stop = self._ring.plan.span(window, end)
        latents = self._ring.read(step - 1, start, stop) if step else self._noise(start, stop)
        return DuePass(
            number, latents, self._schedule.sigmas[step], self._schedule.timesteps[step], self._conditions[window]
        )

    def accept(self, due: DuePass, velocity: Tensor) -> None:
        """Takes the `velocity` `[1, C, F, h, w]` of the pass that was due."""
        window, step = due.number
        latents = euler_step(due.latents, velocity, due.sigma, self._schedule.sigmas[step + 1])
        self._ring.fuse(due.number, latents)
        if step == self._schedule.num_steps - 1:
            del self._conditions[window]

    def whole(self, due: DuePass) -> WholeWindow | None:
        """The window of the pass that is due, where it may take all its steps at once; then `accept_whole` follows."""
        if not self._ring.stands_alone(due.number):
            return None
        config, schedule, noise = self._profile.window, self._schedule, due.latents
        batch, channels, num_latents, *size = noise.shape
        shape = (schedule.num_steps, batch, channels, config.overlap, *size)
        tails = torch.zeros(shape, dtype=noise.dtype, device=noise.device)
        shared = self._ring.tails(due.number.window, num_latents)
        num_shared = 0 if shared is None else shared.shape[3]
        if shared is not None:
            tails[:, :, :, :num_shared] = shared
        weights = weights_on(noise.device, config, schedule.num_steps, num_shared)
        return WholeWindow(noise, tails, weights, schedule, due.conditions)

    def accept_whole(self, due: DuePass, windows: Tensor) -> None:
        """Takes the window of the pass that was due after every step, fused, `[S, 1, C, F, h, w]`."""
        window = due.number.window
        self._ring.lay(window, windows)
        del self._conditions[window]

    def pop(self, end: int | None) -> Tensor | None:
        """Latent frames that have become final, `[1, C, N, h, w]`, each once and in order; None when there are none."""
        latents = self._ring.pop(end)
        # As far back as a window may begin after a cut.
        with lines_of(self._networks.device).listening.beside_main():
            self.features.release(max(0, self._ring.num_left - self._ring.plan.overlap))
        return latents

    def listen_ahead(self, end: int | None) -> None:
        """Lets the features of the next window be made now, beside what the transformer does, if its sound is here."""
        window = self._ring.wavefront.front + 1
        if self._next_profile is None and (end is None or window < self._ring.plan.num_windows(end)):
            with lines_of(self._networks.device).listening.beside_main():
                self.features.prepare(*self._ring.plan.span(window, end))

    def snapshot(self) -> LatentState:
        """The state as it stands. Cheap: tensors are shared, never written to."""
        return LatentState(
            self._profile,
            self._schedule,
            self._next_profile,
            self.features.copy(),
            self._ring.snapshot(),
            dict(self._conditions),
        )

    def restore(self, state: LatentState) -> None:
        """Goes back to (or on from) a snapshot of a stream with the same networks, picture and seed."""
        self._profile, self._schedule, self._next_profile = state.profile, state.schedule, state.next_profile
        self.features = state.features.copy()
        self._ring.restore(state.ring)
        self._conditions = dict(state.conditions)

    def cut(self) -> None:
        """Forgets all sound beyond the latent frames that were handed out, and the windows that heard of it.

        The next window is fused over the tail of those frames, and hears what is pushed from now on.
        """
        self.features.unhear(self._ring.num_left)
        self._conditions.clear()
        self._ring.cut()
        hop = self._profile.window.hop
        self.features.realign(self._ring.plan.span(0)[1] % hop or hop, hop)

    def _admit(self, end: int | None) -> bool:
        """Begins the next window if its sound is here, or lets the last ones run out; False when there is nothing."""
        plan, wavefront = self._ring.plan, self._ring.wavefront
        num_windows = None if end is None else plan.num_windows(end)
        if num_windows is not None and wavefront.num_finished >= num_windows:
            return False
        if self._next_profile is not None:
            self._approach_change(*self._next_profile)
            return True
        window = wavefront.front + 1
        if num_windows is None or window < num_windows:
            start, stop = plan.span(window, end)
            if self.features.num_latents_ready < stop:
                return False
            self._conditions[window] = self._make_conditions(start, stop)
        self._ring.admit(self._lags(window, end))
        return True

    def _lags(self, window: int, end: int | None) -> tuple[int, ...]:
        """How far behind `window` the later steps run: by the profile, or not at all where that would mean waiting."""
        profile, num_steps = self._profile, self._schedule.num_steps
        wanted = self._ring.plan.span(window + profile.num_windows_ahead, end)[1]
        if profile.patience == "take" and self.features.num_latents_ready < wanted:
            return (0,) * num_steps
        return step_lags(num_steps, profile.lookahead, profile.window.neighbours)

    def _approach_change(self, profile: Profile, schedule: Schedule) -> None:
        """Lets the windows in flight finish; once there are none, goes over to the next profile."""
        if self._ring.wavefront.in_flight:
            self._ring.hurry()
            return
        here, there = (schedule_on(_HOST, one.sampler or self._config.sampler) for one in (self._profile, profile))
        self._ring.replan(profile.window, here.nearest(there))
        self.features.realign(self._ring.plan.span(0)[1], profile.window.hop)
        self._profile, self._schedule, self._next_profile = profile, schedule, None

    def _make_conditions(self, start: int, stop: int) -> Conditioning:
        networks = self._networks
        listening = lines_of(networks.device).listening
        with listening.beside_main():
            audio, audio_mask = self.features.take(start, stop)
        listening.join(audio, audio_mask)
        motion = None
        if self._config.dit.motion_dim:
            motion = torch.from_numpy(motion_of_latents(self._seed, start, stop, self._config.fps))
            motion = sent(motion, networks.device)
        layout = self._reference.layout(stop - start)
        return networks.conditions(layout, audio, audio_mask, image=self._reference.image, motion=motion)

    def _noise(self, start: int, stop: int) -> Tensor:
        shape = (self._config.vae.latent_channels, *self._config.latent_size)
        return sent(window_noise(self._seed, start, stop, shape)[None], self._networks.device)

    def _schedule_of(self, profile: Profile) -> Schedule:
        """The noise levels of a profile. Raises BadSetting where it looks further ahead than it has steps."""
        schedule = schedule_on(self._networks.device, profile.sampler or self._config.sampler)
        if profile.lookahead >= schedule.num_steps:
            raise BadSetting(f"lookahead {profile.lookahead} must be below the number of steps, {schedule.num_steps}")
        return schedule
