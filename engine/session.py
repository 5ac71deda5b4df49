"""One stream: sound pushed in at one end, frames pulled out at the other, and all state of it in between.

A session knows windows, the ring buffer and the order of things. It knows no clock and no thread: work is done in
`pull`, at most one window at a time, by whoever calls it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avacast.engine.audio_features import Features, open_features
from avacast.engine.config import SAMPLE_RATE_HZ, ModelConfig
from avacast.engine.errors import BadAudio, SessionClosed
from avacast.engine.flow_matching import Schedule, euler_step
from avacast.engine.guidance import Conditioning
from avacast.engine.networks import DecoderState, Networks
from avacast.engine.noise import window_noise
from avacast.engine.reference import Reference
from avacast.engine.ring_buffer import RingBuffer, RingState
from avacast.engine.windows import frames_of_latents, latents_for_frames

MAX_WAITING_S = 600
"""Sound that may wait to be turned into frames. Beyond it `push` refuses: a caller that never pulls is a mistake."""


@dataclass(frozen=True)
class Frame:
    """One video frame. It shows the samples from `pts * samples_per_frame` up to those of the next frame."""

    pts: int
    """Number of the frame since the session was opened; the time base is 1/fps."""
    image: NDArray[np.uint8]
    """RGB, `[H, W, 3]`."""


@dataclass(frozen=True)
class SessionState:
    """All that a session remembers, taken between two calls. Restoring it does not use it up."""

    features: Features
    ring: RingState
    decoder: DecoderState | None
    num_frames_shown: int
    num_frames: int | None


class Session:
    """All state of one stream. Opened by `Pipeline.open_session`; sessions of one pipeline share only its weights."""

    def __init__(
        self, networks: Networks, config: ModelConfig, schedule: Schedule, reference: Reference, seed: int
    ) -> None:
        self._networks = networks
        self._config = config
        self._schedule = schedule
        self._reference = reference
        self._seed = seed
        self._features = open_features(networks.speech_encoder, config)
        self._ring = RingBuffer(config.window, len(schedule.timesteps))
        self._decoder: DecoderState | None = None
        self._num_frames_shown = 0
        self._num_frames: int | None = None
        self._closed = False

    def push(self, audio: NDArray[np.float32]) -> None:
        """Appends sound: float `[N]`, mono, 16 kHz, clipped to -1..1; any N. Cheap, no network runs.

        Raises BadAudio for another shape or type, NaN or infinity, or more than ten minutes waiting; SessionClosed
        after `flush` or `close`.
        """
        self._check_open()
        if self._num_frames is not None:
            raise SessionClosed("the session takes no more sound after its flush; open a new one")
        if audio.ndim != 1 or not np.issubdtype(audio.dtype, np.floating):
            raise BadAudio(f"sound is float [N], mono, 16 kHz, not {audio.dtype} {list(audio.shape)}; convert it first")
        if not np.isfinite(audio).all():
            raise BadAudio("the sound holds NaN or infinite samples; check where it comes from")
        taken = self._config.samples_per_frame * frames_of_latents(self._ring.num_covered)
        if self._features.samples.num_samples + len(audio) - taken > MAX_WAITING_S * SAMPLE_RATE_HZ:
            raise BadAudio(f"more than {MAX_WAITING_S} s of sound would wait; pull frames before pushing more")
        self._features.push(np.clip(audio, -1, 1).astype(np.float32))

    def flush(self) -> None:
        """Ends the sound. From now on `pull` runs out the last, shorter windows; a second flush does nothing."""
        self._check_open()
        if self._num_frames is None:
            self._features.flush()
            self._num_frames = -(-self._features.samples.num_samples // self._config.samples_per_frame)

    def pull(self) -> list[Frame]:
        """The next frames in order, after at most one window of work; empty when more sound is needed, or none is left.

        Raises SessionClosed after `close`.
        """
        self._check_open()
        with torch.inference_mode():
            latents = self._next_latents()
            return [] if latents is None else self._show(latents)

    @property
    def finished(self) -> bool:
        """Whether the sound was flushed and its last frame pulled."""
        return self._num_frames is not None and self._num_frames_shown >= self._num_frames

    def close(self) -> None:
        """Ends the session and lets its state go; closing twice does nothing."""
        if not self._closed:
            self._closed = True
            del self._features, self._ring, self._decoder, self._reference

    def snapshot(self) -> SessionState:
        """The session as it stands. Cheap: tensors are shared, never written to."""
        self._check_open()
        return SessionState(
            self._features.copy(), self._ring.snapshot(), self._decoder, self._num_frames_shown, self._num_frames
        )

    def restore(self, state: SessionState) -> None:
        """Goes back to (or on from) a snapshot of a session with the same pipeline, picture and seed."""
        self._check_open()
        self._features = state.features.copy()
        self._ring.restore(state.ring)
        self._decoder = state.decoder
        self._num_frames_shown = state.num_frames_shown
        self._num_frames = state.num_frames

    def _check_open(self) -> None:
        if self._closed:
            raise SessionClosed("the session is closed; open a new one")

    def _next_latents(self) -> Tensor | None:
        """Latent frames that leave next, `[1, C, N, h, w]`; None when there is nothing to do."""
        end = None if self._num_frames is None else latents_for_frames(self._num_frames)
        if end is not None and self._ring.num_covered >= end:
            return self._ring.drain() if self._ring.num_left < end else None
        start, stop = self._ring.plan.span(self._ring.window, end)
        if self._features.num_latents_ready < stop:
            return None
        self._denoise(start, stop, self._conditions(start, stop))
        leaving = self._ring.pop()
        # An only window, shorter than what is held back, has nothing final before the stream's end.
        return leaving if leaving.shape[2] else self._ring.drain()

    def _conditions(self, start: int, stop: int) -> Conditioning:
        audio, audio_mask = self._features.take(start, stop)
        layout = self._reference.layout(stop - start)
        return self._networks.conditions(layout, audio, audio_mask, image=self._reference.image)

    def _denoise(self, start: int, stop: int, conditions: Conditioning) -> None:
        shape = (self._config.vae.latent_channels, *self._config.latent_size)
        latents = window_noise(self._seed, start, stop, shape)[None].to(self._networks.device)
        for step, (sigma, sigma_next) in enumerate(pairwise(self._schedule.sigmas)):
            velocity = self._networks.velocity(latents, sigma, self._schedule.timesteps[step], conditions)
            latents = euler_step(latents, velocity, sigma, sigma_next)
            latents = self._ring.fuse(step, latents)

    def _show(self, latents: Tensor) -> list[Frame]:
        frames, self._decoder = self._networks.decode(latents, self._decoder)
        images = (frames * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
        first = self._num_frames_shown
        if self._num_frames is not None:  # the last latent frame makes up to three frames too many
            images = images[: self._num_frames - first]
        self._num_frames_shown += len(images)
        return [Frame(first + i, image) for i, image in enumerate(images)]
