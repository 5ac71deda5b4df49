"""Guidance: several passes of the network that hear and read different things, combined into one velocity.

Knows which branches a setting needs, runs exactly those in one batch, and weighs them. Does not know schedules,
windows or how conditions are made.

Every weighting here sums to one. So it may be applied to predicted samples as well as to velocities, and a network that
ignores its conditions gives the plain pass at every scale.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal, NamedTuple, Self

import torch
from torch import Tensor

from avacast.engine.company import Company
from avacast.engine.dit import DiT
from avacast.engine.errors import BadSetting


class Branch(NamedTuple):
    """What one pass of the network is given."""

    text: Literal["prompt", "negative"]
    audio: Literal["voice", "silence", "none"]
    """`silence` passes the adapter, which still sees latents and timestep; `none` is a zero audio context after it."""


PLAIN = Branch("prompt", "voice")


STILL = ("text", "image", "negative_text")
"""Of `Conditioning`, what stays the same for a whole stream: the very tensors."""


@dataclass(frozen=True)
class Conditioning:
    """What a window is conditioned on; shapes as in `DiT.forward`."""

    reference: Tensor
    audio: Tensor
    audio_mask: Tensor
    text: Tensor | None = None
    image: Tensor | None = None
    negative_text: Tensor | None = None
    """[B, text_len, text_dim]; needed by `Guidance.cfg` where the model reads text."""
    motion: Tensor | None = None
    silence: Tensor | None = None
    """[B, F, A, audio_in_dim], wav2vec2 tokens of silence; needed by `Guidance.audio_native` with alpha."""

    @classmethod
    def batch(cls, several: Sequence[Self], company: Company) -> Self:
        """The conditions of several windows of equal length as those of one batch; texts and pictures by `company`."""
        values: dict[str, Tensor | None] = {}
        for name in (field.name for field in fields(cls)):
            tensors = [getattr(one, name) for one in several]
            join = company.join if name in STILL else torch.cat
            values[name] = None if tensors[0] is None else join(tensors)
        return cls(**values)  # type: ignore[arg-type]  # only fields that may be None are


@dataclass(frozen=True)
class Guidance:
    """Branches and their weights. Weights sum to one; a branch of weight zero is not there and is not run."""

    weights: tuple[tuple[Branch, float], ...]

    @classmethod
    def none(cls) -> Self:
        """One plain pass."""
        return cls(((PLAIN, 1.0),))

    @classmethod
    def cfg(cls, audio_scale: float, text_scale: float, *, has_text: bool = True) -> Self:
        """The released classifier-free guidance, `v1 + audio_scale (v2 - v1) + text_scale (v3 - v2)`.

        v1 is the negative text without audio, v2 the negative text with audio, v3 the prompt with audio. Without text
        (`has_text` False) v2 and v3 are one branch and `text_scale` is without effect. Raises BadSetting on a
        scale that is not finite.
        """
        _check(audio_scale=audio_scale, text_scale=text_scale)
        if not has_text:
            return cls._of({Branch("prompt", "none"): 1 - audio_scale, PLAIN: audio_scale})
        unheard, unread = Branch("negative", "none"), Branch("negative", "voice")
        return cls._of({unheard: 1 - audio_scale, unread: audio_scale - text_scale, PLAIN: text_scale})

    @classmethod
    def audio_native(cls, alpha: float, beta: float) -> Self:
        """Audio Native Guidance (StableAvatar, arXiv 2508.08248, section on audio native guidance; never released).

        Let z be the noisy latents, a the voice and a' the audio embedding that the adapter makes of a, z and the
        timestep. The paper treats a' as predicted jointly with the latents, and sharpens how much latents and voice say
        about each other: sampling follows

            p(z, a' | a) * p(a | z, a')^alpha * p(a' | z, a)^beta.

        By Bayes, and dropping factors without z, each sharpening factor is a ratio of joint likelihoods:

            p(a | z, a')  =  p(z, a' | a) p(a) / p(z, a')     ~  p(z, a' | a) / p(z, a')
            p(a' | z, a)  =  p(z, a' | a) / p(z | a)

        so the sampled density is proportional to

            p(z, a' | a)^(1 + alpha + beta) * p(z, a')^-alpha * p(z | a)^-beta.

        Velocity is linear in the gradient of the log density, and the added constants cancel because the exponents sum
        to one. The three densities are three passes of the network: p(z, a' | a) is the plain one; in p(z, a') the
        adapter is not told the voice, so it runs on silence and still sees latents and timestep; in p(z | a) there is
        no embedding, a zero context after the adapter:

            v = (1 + alpha + beta) v(voice) - alpha v(silence) - beta v(none).

        Text and reference are no factors of it. Raises BadSetting on a scale that is not finite.
        """
        _check(alpha=alpha, beta=beta)
        unspoken, unheard = Branch("prompt", "silence"), Branch("prompt", "none")
        return cls._of({unspoken: -alpha, unheard: -beta, PLAIN: 1 + alpha + beta})

    @classmethod
    def _of(cls, weights: dict[Branch, float]) -> Self:
        return cls(tuple((branch, weight) for branch, weight in weights.items() if weight))

    @property
    def branches(self) -> tuple[Branch, ...]:
        return tuple(branch for branch, _ in self.weights)

    def combine(self, outputs: Tensor) -> Tensor:
        """Weighs the branches' network outputs [K*B, ...], branch by branch in order, into one [B, ...]."""
        weights = outputs.new_tensor([weight for _, weight in self.weights])
        return torch.tensordot(weights, outputs.unflatten(0, (len(self.weights), -1)), dims=1)


def guided_pass(dit: DiT, guidance: Guidance, latents: Tensor, timestep: Tensor, conditioning: Conditioning) -> Tensor:
    """The network's output [B, C, F, H, W] under guidance, for `latents` of that shape and `timestep` [B].

    The adapter runs once for each sound that the branches hear, the transformer once over all branches in one batch.
    """
    branches = guidance.branches
    contexts = _audio_contexts(dit, branches, latents, timestep, conditioning)
    outputs = dit.denoise(
        _repeat(latents, len(branches)),
        _repeat(timestep, len(branches)),
        _repeat(conditioning.reference, len(branches)),
        torch.cat([contexts[branch.audio] for branch in branches]),
        _repeat(conditioning.audio_mask, len(branches)),
        None if conditioning.text is None else torch.cat([_text(conditioning, branch) for branch in branches]),
        None if conditioning.image is None else _repeat(conditioning.image, len(branches)),
        None if conditioning.motion is None else _repeat(conditioning.motion, len(branches)),
    )
    return guidance.combine(outputs)


def _audio_contexts(
    dit: DiT, branches: tuple[Branch, ...], latents: Tensor, timestep: Tensor, conditioning: Conditioning
) -> dict[str, Tensor]:
    """Audio contexts [B, F, A, D] by what is heard, for what the branches need."""
    sounds: dict[str, Tensor] = {"voice": conditioning.audio}
    if any(branch.audio == "silence" for branch in branches):
        assert conditioning.silence is not None, "audio-native guidance with alpha needs the tokens of silence"
        sounds["silence"] = conditioning.silence
    adapted = dit.adapt_audio(
        _repeat(latents, len(sounds)),
        _repeat(timestep, len(sounds)),
        _repeat(conditioning.reference, len(sounds)),
        torch.cat(list(sounds.values())),
        _repeat(conditioning.audio_mask, len(sounds)),
    )
    contexts = dict(zip(sounds, adapted.chunk(len(sounds)), strict=True))
    return contexts | {"none": torch.zeros_like(contexts["voice"])}


def _text(conditioning: Conditioning, branch: Branch) -> Tensor:
    text = conditioning.negative_text if branch.text == "negative" else conditioning.text
    assert text is not None, f"the branch {branch} needs text that was not given"
    return text


def _repeat(x: Tensor, times: int) -> Tensor:
    return torch.cat([x] * times) if times > 1 else x


def _check(**scales: float) -> None:
    for name, scale in scales.items():
        if not math.isfinite(scale):
            raise BadSetting(f"{name} is {scale}; give a finite number")
