"""Scaled dot-product attention over heads, and the three attentions of the diffusion transformer.

Knows projections, norms of queries and keys, and how the conditions (text, image, audio) are summed. Knows nothing of
blocks, timesteps or patches.

Shapes: B batch, N patch tokens, F latent frames, A audio tokens of one latent frame, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avacast.engine.config import DiTConfig
from avacast.engine.products import Products, through
from avacast.engine.rope import Rotation, norm_rotate_joined, rotate

MASKED = -1e4
"""Added to the score of a padded token: far enough for a weight of exactly zero, finite in every precision, so that a
latent frame without any token gives numbers instead of NaN."""


class KeysValues(NamedTuple):
    """What one block reads of a condition, each [B, M, D]."""

    key: Tensor
    value: Tensor


@dataclass(frozen=True)
class Context:
    """What the cross-attention of every block reads, embedded to the transformer's width."""

    audio: Tensor
    """[B, F, A, D], from the audio adapter; zeros stand for no audio."""
    audio_mask: Tensor | None
    """[B, F, A] bool, True where a token is real; None attends to the padding as well."""
    text: Tensor | None = None
    """[B, text_len, D], or None where the model has no text."""
    image: Tensor | None = None
    """[B, 257, D], or None where the model has no image."""
    still: tuple[KeysValues, ...] = ()
    """Text and image as the block at hand has read them before (`CrossAttention.read`), in place of both."""


def attend(query: Tensor, key: Tensor, value: Tensor, num_heads: int, bias: Tensor | None = None) -> Tensor:
    """Attention of [B, N, D] queries over [B, M, D] keys and values, split into heads; returns [B, N, D].

    `bias` [B, 1, 1, M] is added to the scores.
    """
    query, key, value = (_heads(x, num_heads) for x in (query, key, value))
    return _attend_heads(query, key, value, bias)


def _heads(x: Tensor, num_heads: int) -> Tensor:
    """[B, N, D] to [B, H, N, d]."""
    return x.unflatten(2, (num_heads, -1)).transpose(1, 2)


def _attend_heads(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """`attend` of [B, H, N, d] queries over [B, H, M, d] keys and values; returns [B, N, D]."""
    if key.requires_grad and key.device.type == "cpu":
        heard = _attend_plainly(query, key, value, bias)
    else:
        heard = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    return heard.transpose(1, 2).flatten(2)


def _attend_plainly(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    """The same, written out: on a CPU a training step of the pocket model took 2.3 s with it, 2.9 s with the kernel."""
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    if bias is not None:
        scores = scores + bias
    return scores.softmax(dim=-1).to(value.dtype) @ value


def padding_bias(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Score bias [B*F, 1, 1, A] of a token mask [B, F, A]: zero where a token is real, `MASKED` where it is padding."""
    return (~mask).to(dtype).mul(MASKED).flatten(0, 1)[:, None, None]


class SelfAttention(nn.Module):
    """Attention among all patch tokens of a window, with rotary positions."""

    def __init__(self, dim: int, num_heads: int, eps: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(dim, dim)
        self.k = nn.Linear(dim, dim)
        self.v = nn.Linear(dim, dim)
        self.o = nn.Linear(dim, dim)
        self.norm_q = nn.RMSNorm(dim, eps)
        self.norm_k = nn.RMSNorm(dim, eps)
        self._read = Products(self.q, self.k, self.v)
        self._write = Products(self.o)

    def forward(self, x: Tensor, rotation: Rotation) -> Tensor:
        joined = self._read(x)
        if joined is not None:
            query, key = norm_rotate_joined(joined, self.norm_q, self.norm_k, rotation, self.num_heads)
            value = _heads(joined[..., -x.shape[2] :], self.num_heads)
            return through(self._write, self.o, _attend_heads(query, key, value))
        query = rotate(self.norm_q(self.q(x)), rotation, self.num_heads)
        key = rotate(self.norm_k(self.k(x)), rotation, self.num_heads)
        return self.o(attend(query, key, self.v(x), self.num_heads))


class CrossAttention(nn.Module):
    """Text, image and audio attention with one query and one output projection; the three results are summed.

    Text and image are read by every patch token. Audio is read frame by frame: the patch tokens of a latent frame
    attend to the audio tokens of that latent frame alone, and the audio key has no norm.
    """

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        dim, eps = config.dim, config.eps
        self.num_heads = config.num_heads
        self.q = nn.Linear(dim, dim)
        self.norm_q = nn.RMSNorm(dim, eps)
        if config.text_dim:
            self.k = nn.Linear(dim, dim)
            self.v = nn.Linear(dim, dim)
            self.norm_k = nn.RMSNorm(dim, eps)
        if config.clip_dim:
            self.k_img = nn.Linear(dim, dim)
            self.v_img = nn.Linear(dim, dim)
            self.norm_k_img = nn.RMSNorm(dim, eps)
        self.k_vocal = nn.Linear(dim, dim)
        self.v_vocal = nn.Linear(dim, dim)
        self.o = nn.Linear(dim, dim)
        self._ask, self._write = Products(self.q), Products(self.o)
        self._read_audio = Products(self.k_vocal, self.v_vocal)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        query = self.norm_q(through(self._ask, self.q, x))
        heard = self._hear(query, context)
        for key, value in context.still or self.read(context.text, context.image):
            heard = heard + attend(query, key, value, self.num_heads)
        return through(self._write, self.o, heard)

    def read(self, text: Tensor | None, image: Tensor | None) -> tuple[KeysValues, ...]:
        """Keys and values of the conditions that stay the same for a whole stream, embedded as in `Context`."""
        still: list[KeysValues] = []
        if text is not None:
            still.append(KeysValues(self.norm_k(self.k(text)), self.v(text)))
        if image is not None:
            still.append(KeysValues(self.norm_k_img(self.k_img(image)), self.v_img(image)))
        return tuple(still)

    def _hear(self, query: Tensor, context: Context) -> Tensor:
        """Audio attention of [B, N, D] queries, each latent frame by itself."""
        batch, num_frames = context.audio.shape[:2]
        joined = self._read_audio(context.audio.flatten(1, 2))
        if joined is None:
            key, value = self.k_vocal(context.audio), self.v_vocal(context.audio)
        else:
            key, value = joined.unflatten(1, (num_frames, -1)).chunk(2, dim=-1)
        bias = None
        if context.audio_mask is not None:
            bias = padding_bias(context.audio_mask, query.dtype)
            # A frame whose tokens are all padding weighs them evenly; zero values make it hear nothing.
            value = value * context.audio_mask.to(value.dtype).unsqueeze(-1)
        per_frame = query.unflatten(1, (num_frames, -1)).flatten(0, 1)
        heard = attend(per_frame, key.flatten(0, 1), value.flatten(0, 1), self.num_heads, bias)
        return heard.unflatten(0, (batch, num_frames)).flatten(1, 2)
