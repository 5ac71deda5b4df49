"""Sound in, wav2vec2 tokens per latent frame out, as a stream with explicit state.

Two alignments, one interface (`push`, `num_latents_ready`, `take`, `flush`). `FeatureStream` computes every token once,
on a schedule that depends on its absolute position alone, so that features are the same however the caller cuts the
sound. `WindowFeatures` is the released way: the sound of a window is encoded by itself and stretched over its frames.
This module knows samples, tokens and latent frames; it knows no pictures, no denoising and no clock.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from typing import Self

import torch
from torch import Tensor

from avacast.engine.audio_split import TOKENS_PER_LATENT_FRAME, stream_split, window_split
from avacast.engine.config import TEMPORAL_STRIDE, AudioConfig, ModelConfig
from avacast.engine.profile import WindowConfig
from avacast.engine.sample_tail import Samples, SampleTail
from avacast.engine.side_stream import sent
from avacast.engine.speech_encoder import (
    TOKEN_RATE_HZ,
    TOKEN_REACH,
    TOKEN_STRIDE,
    SpeechEncoder,
    encode,
    is_silent,
)
from avacast.engine.windows import frames_of_latents, latents_for_frames

SAMPLES_PER_FRAME = TOKENS_PER_LATENT_FRAME * TOKEN_STRIDE // TEMPORAL_STRIDE
"""Samples of one video frame in alignment `stream`, which is made for 25 frames a second."""


class Features(ABC):
    """What a session asks of its audio features, whichever the alignment; all state of one stream of sound."""

    def __init__(self, encoder: SpeechEncoder, margin: int, samples_per_frame: int) -> None:
        assert not encoder.training, "features are computed with the encoder in eval mode"
        self._encoder = encoder
        self._margin = margin
        self._samples_per_frame = samples_per_frame
        self._flushed = False
        self.samples = SampleTail()

    @property
    def num_latents_ready(self) -> int:
        """Latent frames, from the stream's start, that `take` can answer for."""
        if self._flushed:
            return latents_for_frames(-(-self.samples.num_samples // self._samples_per_frame))
        return self._num_latents_heard()

    def push(self, samples: Samples) -> None:
        """Appends sound, float32 `[N]`, mono at 16 kHz. Cheap: the encoder runs in `take`."""
        assert not self._flushed, "push() after flush()"
        self.samples.push(samples)

    def flush(self) -> None:
        """Ends the sound; beyond it there is digital silence."""
        self._flushed = True

    def realign(self, first: int, hop: int) -> None:  # noqa: B027  # some alignments have no runs
        """From now on runs of the encoder end at the latent frames `first`, `first + hop`, ...

        The next run goes from the end of what was encoded to the first of these beyond it. Tokens that were computed
        stay; latent frames that were ready but not taken are counted anew.
        """

    def unhear(self, num_latents: int) -> None:
        """Forgets the sound from the end of latent frame `num_latents - 1` on, as if it had never been pushed."""
        self._flushed = False
        self.samples.truncate(frames_of_latents(num_latents) * self._samples_per_frame)

    @abstractmethod
    def release(self, latent: int) -> None:
        """Lets go of what no window from latent frame `latent` on hears."""

    @abstractmethod
    def take(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Tokens `[F, A, D]` and mask bool `[F, A]` of latent frames [start, stop), of which none was released."""

    def prepare(self, start: int, stop: int) -> None:  # noqa: B027  # some alignments make nothing beforehand
        """Makes what `take` will be asked for next, where that can be done now and changes nothing."""

    @abstractmethod
    def _num_latents_heard(self) -> int:
        """Latent frames for which enough sound has come, while more may."""

    def copy(self) -> Self:
        """An independent copy of the state; the encoder and the tensors, which are never written to, are shared."""
        twin = copy(self)
        twin.samples = self.samples.copy()
        return twin


def open_features(encoder: SpeechEncoder, config: ModelConfig, window: WindowConfig) -> Features:
    """The features of one new session with such windows, in the alignment that the model was trained with."""
    if config.audio.alignment == "window":
        return WindowFeatures(encoder, config.audio.margin, config.samples_per_frame)
    assert config.samples_per_frame == SAMPLES_PER_FRAME, f"alignment 'stream' needs 25 fps, not {config.fps}"
    # Runs end where windows end, so that no window waits for sound that it does not need.
    return FeatureStream(encoder, config.audio, hop=window.hop, first=window.window % window.hop or window.hop)


def features_reach(config: ModelConfig) -> int:
    """Samples beyond a window's last video frame that must be heard before the window's features are ready."""
    if config.audio.alignment == "window":
        return (TEMPORAL_STRIDE - 1) * config.samples_per_frame
    num_tokens = config.audio.margin + config.audio.right_context_tokens
    return TOKEN_STRIDE * num_tokens + TOKEN_REACH - TOKEN_STRIDE


class FeatureStream(Features):
    """Alignment `stream`: each latent frame hears the tokens of its own time, each token computed exactly once.

    The encoder runs once for every `hop` latent frames (the first run covers `first`). A run sees `left_context_s` of
    sound before its new tokens, as far as there is any, and `right_context_tokens` after them. A run that would hear
    nothing but silence is left out: its tokens are all `SpeechEncoder.silence`. All this depends on the position and
    the sound alone, so pushing in any pieces gives identical features. Before the start of the stream there is no
    sound and there are no tokens: the mask is False there.
    """

    def __init__(self, encoder: SpeechEncoder, config: AudioConfig, *, hop: int, first: int | None = None) -> None:
        super().__init__(encoder, config.margin, SAMPLES_PER_FRAME)
        self._left_context = round(config.left_context_s * TOKEN_RATE_HZ)
        self._right_context = config.right_context_tokens
        self._tokens = torch.zeros(0, encoder.dim)
        self._first_token = 0
        """Absolute position of the oldest token kept."""
        self._num_encoded = 0
        """Latent frames whose tokens have been computed."""
        self.realign(hop if first is None else first, hop)

    def realign(self, first: int, hop: int) -> None:
        assert min(first, hop) > 0, (first, hop)
        self._hop = hop
        self._next_stop = first + hop * max(0, (self._num_encoded - first) // hop + 1)

    def unhear(self, num_latents: int) -> None:
        super().unhear(num_latents)
        self._num_encoded = min(self._num_encoded, num_latents)
        # Without the margin, which is sound of the next latent frame.
        kept = max(0, self._token_stop(num_latents) - self._margin)
        self._tokens = self._tokens[: max(0, kept - self._first_token)]

    def take(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        assert self._flushed or stop <= self.num_latents_ready, f"{stop} latents of {self.num_latents_ready} ready"
        while self._num_encoded < stop:
            self._encode_run()
        index = stream_split(start, stop - start, self._margin)
        mask = index >= 0
        assert max(0, int(index[0, 0])) >= self._first_token, f"latent frame {start} is forgotten"
        return _heard(self._tokens, (index - self._first_token).clamp(min=0), mask)

    def release(self, latent: int) -> None:
        first = self._token_stop(latent) - 2 * self._margin
        if self._first_token < first < self._first_token + len(self._tokens):
            self._tokens = self._tokens[first - self._first_token :].clone()
            self._first_token = first
        self.samples.forget(TOKEN_STRIDE * max(0, first - self._left_context))

    def _num_latents_heard(self) -> int:
        num_tokens = (self.samples.num_samples - TOKEN_REACH) // TOKEN_STRIDE + 1 - self._right_context
        num_latents = (num_tokens - self._token_stop(0)) // TOKENS_PER_LATENT_FRAME
        if num_latents < self._next_stop:
            return self._num_encoded
        return num_latents - (num_latents - self._next_stop) % self._hop

    def _token_stop(self, latent_stop: int) -> int:
        """One past the last token that the latent frames before `latent_stop` hear."""
        return TOKENS_PER_LATENT_FRAME * latent_stop - 6 + self._margin

    def _encode_run(self) -> None:
        start = self._first_token + len(self._tokens)
        stop = self._token_stop(self._next_stop)
        context = max(0, start - self._left_context)
        num_samples = TOKEN_STRIDE * (stop - context + self._right_context - 1) + TOKEN_REACH
        samples = self.samples.read(TOKEN_STRIDE * context, TOKEN_STRIDE * context + num_samples)
        if is_silent(samples):
            tokens = self._encoder.silence.expand(stop - start, -1)
        else:
            tokens = encode(self._encoder, samples)[start - context : stop - context]
        self._tokens = torch.cat([self._tokens.to(tokens), tokens])
        self._num_encoded, self._next_stop = self._next_stop, self._next_stop + self._hop


class WindowFeatures(Features):
    """Alignment `window`, as released: a window's own sound, encoded by itself and stretched over its latent frames.

    The window of latent frames [s, s + F) hears the samples from 4 s p to 4 (s + F) p, p to a video frame; the last
    window hears to the end of the sound.
    """

    def __init__(self, encoder: SpeechEncoder, margin: int, samples_per_frame: int) -> None:
        super().__init__(encoder, margin, samples_per_frame)
        self._prepared: tuple[tuple[int, int], tuple[Tensor, Tensor]] | None = None
        """The first and last sample of a window's sound, and its features."""

    def take(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        assert stop <= self.num_latents_ready, f"{stop} latents of {self.num_latents_ready} ready"
        span = self._span(start, stop)
        if self._prepared is not None and self._prepared[0] == span:
            return self._prepared[1]
        tokens = encode(self._encoder, self.samples.read(*span))
        index, mask = window_split(len(tokens), frames_of_latents(stop - start), self._margin)
        return _heard(tokens, index, mask)

    def prepare(self, start: int, stop: int) -> None:
        if stop <= self.num_latents_ready:
            self._prepared = self._span(start, stop), self.take(start, stop)

    def unhear(self, num_latents: int) -> None:
        super().unhear(num_latents)
        self._prepared = None

    def _span(self, start: int, stop: int) -> tuple[int, int]:
        """The samples that a window hears."""
        samples_per_latent = TEMPORAL_STRIDE * self._samples_per_frame
        first = samples_per_latent * start
        # A last window of a few milliseconds is too short for a single token: silence fills it up to one.
        return first, max(min(samples_per_latent * stop, self.samples.num_samples), first + TOKEN_REACH)

    def release(self, latent: int) -> None:
        self.samples.forget(TEMPORAL_STRIDE * self._samples_per_frame * latent)

    def _num_latents_heard(self) -> int:
        return self.samples.num_samples // (TEMPORAL_STRIDE * self._samples_per_frame)


def _heard(tokens: Tensor, index: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The `tokens` `[T, D]` at `index` `[F, A]`, zero where `mask` is False; and the mask on their device."""
    mask = sent(mask, tokens.device)
    return tokens[sent(index, tokens.device)] * mask[..., None].to(tokens), mask


def encode_clip(
    encoder: SpeechEncoder, config: AudioConfig, waveform: Samples, num_latents: int, *, hop: int
) -> tuple[Tensor, Tensor]:
    """The features of a whole clip in alignment `stream`: what a session with this `hop` would take, in one go.

    `waveform` is float32 `[N]`, mono at 16 kHz, from the clip's first video frame on; `num_latents` the latent frames F
    of the clip, sound beyond which only serves as context; `hop` the latent frames to a run of the encoder
    (`WindowConfig.hop`). Returns tokens float32 `[F, A, D]` and mask bool `[F, A]`.
    """
    stream = FeatureStream(encoder, config, hop=hop)
    stream.push(waveform)
    stream.flush()
    return stream.take(0, num_latents)
