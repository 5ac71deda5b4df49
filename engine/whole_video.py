"""A whole video denoised at once, as the paper has it: all sound known, guided, step by step and resumable.

It joins the pieces that a session joins too (features, reference, the transformer's pass) to the offline loop. It knows
no files but the saved state of its own work, and no progress bar; `session` is the live counterpart.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avacast.engine.audio_features import open_features
from avacast.engine.errors import BadAudio, BadSetting
from avacast.engine.guidance import Conditioning, Guidance
from avacast.engine.motion import motion_of_latents
from avacast.engine.networks import DecoderState
from avacast.engine.noise import window_noise
from avacast.engine.offline import offline_step
from avacast.engine.pipeline import Pipeline
from avacast.engine.portrait import Picture
from avacast.engine.reference import Reference
from avacast.engine.reference_detail import Motion
from avacast.engine.sample_tail import Samples
from avacast.engine.windows import WindowPlan, latents_for_frames


class WholeVideo:
    """One video: its conditions are made when it is opened, its latents by `denoise`, its frames by `frames`.

    Memory grows with the length: 16 channels of float32 for every latent cell, and the features of every window.
    """

    def __init__(
        self, pipeline: Pipeline, picture: Picture, sound: Samples, guidance: Guidance | None = None, *, seed: int = 0
    ) -> None:
        """`picture` uint8 `[H, W, 3]`, `sound` float32 `[N]`, mono, 16 kHz; without `guidance`, one plain pass.

        Raises BadPortrait, BadAudio for no sound at all, BadSetting for a negative seed.
        """
        if seed < 0:
            raise BadSetting(f"the seed must be 0 or a positive whole number, not {seed}")
        if not len(sound):
            raise BadAudio("there is no sound at all; record it again")
        self.pipeline = pipeline
        # A live session's lighter decoder saves time that nobody waits for here.
        self._networks = replace(pipeline.networks, live_vae=None)
        self._guidance = guidance or Guidance.none()
        self._picture, self._sound, self._seed = picture, sound, seed
        self.num_frames = -(-len(sound) // pipeline.config.samples_per_frame)
        self.num_latents = latents_for_frames(self.num_frames)

    @property
    def num_steps(self) -> int:
        return len(self.pipeline.schedule.timesteps)

    @property
    def num_windows(self) -> int:
        return WindowPlan.from_config(self.pipeline.config.window).num_windows(self.num_latents)

    def noise(self) -> Tensor:
        """Where denoising starts, float32 `[1, C, L, h, w]`."""
        config = self.pipeline.config
        shape = (config.vae.latent_channels, *config.latent_size)
        return window_noise(self._seed, 0, self.num_latents, shape)[None].to(self._networks.device)

    def denoise(self, latents: Tensor, step: int, on_window: Callable[[], None] = lambda: None) -> Tensor:
        """Step `step` of all windows, `[1, C, L, h, w]` to the same; `on_window` is called after each of them."""
        schedule = self.pipeline.schedule

        def velocity(window: Tensor, step: int, start: int) -> Tensor:
            moment = schedule.sigmas[step], schedule.timesteps[step]
            flow = self._networks.guided_velocity(self._guidance, window, *moment, self._conditions[start])
            on_window()
            return flow

        with torch.inference_mode():
            return offline_step(latents, step, schedule, self.pipeline.config.window, velocity)

    def frames(self, latents: Tensor) -> Iterator[NDArray[np.uint8]]:
        """The frames uint8 `[H, W, 3]` of finished latents, decoded one latent frame at a time."""
        state: DecoderState | None = None
        motion: Motion | None = None
        detail, num_left = self._reference.detail, self.num_frames
        for latent in latents.split(1, dim=2):
            with torch.inference_mode():
                frames, state = self._networks.decode(latent, state)
            images = (frames * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
            if detail is not None:
                images, motion = detail.restore(images, motion)
            yield from images[:num_left]
            num_left -= len(images)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over all that decides the video: model, settings, guidance, picture, sound, seed and prompts."""
        digest = hashlib.sha256()
        digest.update(json.dumps(self.pipeline.config.to_dict(), sort_keys=True).encode())
        digest.update(repr((self._guidance, self._seed, str(self._networks.dtype), self._picture.shape)).encode())
        digest.update(np.ascontiguousarray(self._picture).tobytes())
        digest.update(np.ascontiguousarray(self._sound, dtype=np.float32).tobytes())
        # One small weight of the transformer tells a model from another of the same configuration.
        digest.update(self._networks.dit.head.modulation.detach().float().cpu().numpy().tobytes())
        if self._networks.text is not None:
            for states in (self._networks.text.positive, self._networks.text.negative):
                digest.update(states.float().cpu().numpy().tobytes())
        return digest.hexdigest()

    @cached_property
    def _reference(self) -> Reference:
        return self.pipeline.reference(self._picture)

    @cached_property
    def _conditions(self) -> dict[int, Conditioning]:
        """Conditions of each window by its first latent frame."""
        config = self.pipeline.config
        reference = self._reference
        plan = WindowPlan.from_config(config.window)
        needs_silence = any(branch.audio == "silence" for branch in self._guidance.branches)
        voice, silence = open_features(self._networks.hearing, config, config.window), None
        voice.push(self._sound)
        voice.flush()
        if needs_silence:
            silence = open_features(self._networks.hearing, config, config.window)
            silence.push(np.zeros(len(self._sound), np.float32))
            silence.flush()
        conditions: dict[int, Conditioning] = {}
        with torch.inference_mode():
            for index in range(self.num_windows):
                start, stop = plan.span(index, self.num_latents)
                conditions[start] = self._networks.conditions(
                    reference.layout(stop - start),
                    *voice.take(start, stop),
                    image=reference.image,
                    motion=self._motion(start, stop),
                    silence=None if silence is None else silence.take(start, stop)[0],
                )
        return conditions

    def _motion(self, start: int, stop: int) -> Tensor | None:
        config = self.pipeline.config
        if not config.dit.motion_dim:
            return None
        return torch.from_numpy(motion_of_latents(self._seed, start, stop, config.fps))
