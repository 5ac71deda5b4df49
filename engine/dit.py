"""The diffusion transformer: noisy latents and conditions in, a prediction of the same shape out.

Knows blocks and what they read, in the public checkpoints' parameter names. Does not know schedules, guidance,
windows or where its conditions come from.

Sources: Wan 2.1 (arXiv 2503.20314) for the transformer, StableAvatar (arXiv 2508.08248) for the audio.

Shapes: B batch, C latent channels, F latent frames, H x W latent cells, A audio tokens of a latent frame, N patch
tokens, D width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from avacast.engine.attention import Context, CrossAttention, SelfAttention
from avacast.engine.audio_adapter import AudioAdapter
from avacast.engine.config import DiTConfig
from avacast.engine.feed_forward import FeedForward
from avacast.engine.modulation import (
    learned,
    norm_modulate,
    sinusoid,
    timestep_embedding,
    timestep_projection,
    vectors,
)
from avacast.engine.patches import Head, PatchEmbedding
from avacast.engine.rope import RotaryEmbedding, Rotation


class ImageEmbedding(nn.Module):
    """`img_emb` of the public checkpoints: CLIP tokens [B, 257, clip_dim] to [B, 257, D]."""

    def __init__(self, clip_dim: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Sequential(
            nn.LayerNorm(clip_dim),
            nn.Linear(clip_dim, clip_dim),
            nn.GELU(),
            nn.Linear(clip_dim, dim),
            nn.LayerNorm(dim),
        )

    def forward(self, image: Tensor) -> Tensor:
        return self.proj(image)


class Block(nn.Module):
    """Self-attention and feed-forward steered by the timestep, cross-attention to the conditions between them."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        dim, eps = config.dim, config.eps
        self.modulation = learned(6, dim)
        self.norm1 = nn.LayerNorm(dim, eps, elementwise_affine=False)
        self.self_attn = SelfAttention(dim, config.num_heads, eps)
        self.norm3 = nn.LayerNorm(dim, eps)
        self.cross_attn = CrossAttention(config)
        self.norm2 = nn.LayerNorm(dim, eps, elementwise_affine=False)
        self.ffn = FeedForward(dim, config.ffn_dim, dim)

    def forward(self, x: Tensor, timestep: Tensor, rotation: Rotation, context: Context) -> Tensor:
        """`x` [B, N, D], `timestep` [B, 6, D] float32; returns [B, N, D]."""
        shift, scale, gate, ffn_shift, ffn_scale, ffn_gate = vectors(self.modulation, timestep, x.dtype)
        x = torch.addcmul(x, gate, self.self_attn(norm_modulate(self.norm1, x, shift, scale), rotation))
        x = x + self.cross_attn(self.norm3(x), context)
        return torch.addcmul(x, ffn_gate, self.ffn(norm_modulate(self.norm2, x, ffn_shift, ffn_scale)))


def _is_all_real(audio_mask: Tensor) -> bool:
    """Whether nothing is to be masked, asked on a CPU alone: elsewhere the answer would have to be waited for."""
    if audio_mask.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling():
        return False
    return bool(audio_mask.all())


class _Window(NamedTuple):
    """A window of noisy latents and its timestep, embedded: what adapter and transformer both read."""

    patches: Tensor
    """[B, N, D]"""
    embedding: Tensor
    """[B, D] float32, the timestep"""
    steering: Tensor
    """[B, 6, D] float32, the timestep projected for the blocks"""
    grid: tuple[int, int, int]
    """Patches along time, height and width."""


class DiT(nn.Module):
    """The whole network. `forward` is one pass; `adapt_audio` and `denoise` are its two halves.

    Guidance takes the halves apart: the adapter runs once for a window and a step, and its output is shared by the
    branches, or replaced by zeros where a branch hears nothing.
    """

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.patch_embedding = PatchEmbedding(config)
        if config.text_dim:
            self.text_embedding = FeedForward(config.text_dim, dim, dim)
        if config.clip_dim:
            self.img_emb = ImageEmbedding(config.clip_dim, dim)
        self.time_embedding = timestep_embedding(config.freq_dim, dim)
        self.time_projection = timestep_projection(dim)
        self.vocal_projector = AudioAdapter(config)
        if config.motion_dim:
            self.motion_embedding = FeedForward(config.motion_dim, dim, dim)
        self.rope = RotaryEmbedding(config.head_dim)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.head = Head(config)
        self._initialise()

    def forward(
        self,
        latents: Tensor,
        timestep: Tensor,
        reference: Tensor,
        audio: Tensor,
        audio_mask: Tensor,
        text: Tensor | None = None,
        image: Tensor | None = None,
        motion: Tensor | None = None,
    ) -> Tensor:
        """One pass of the network.

        `latents` [B, C, F, H, W], noisy; `timestep` [B], sigma * 1000; `reference` [B, 4+C, F, H, W], the mask and then
        the reference latents; `audio` [B, F, A, audio_in_dim], wav2vec2 tokens cut per latent frame; `audio_mask`
        [B, F, A] bool, True where a token is real; `text` [B, text_len, text_dim], zero-padded, and `image`
        [B, 257, clip_dim], exactly where the configuration has them, likewise `motion` [B, F, motion_dim]. Returns the
        raw output [B, C, F, H, W], whose meaning `config.prediction` gives.
        """
        window = self._embed(latents, timestep, reference)
        return self._denoise(window, self._adapt(window, audio, audio_mask), audio_mask, text, image, motion)

    def adapt_audio(
        self, latents: Tensor, timestep: Tensor, reference: Tensor, audio: Tensor, audio_mask: Tensor
    ) -> Tensor:
        """The audio adapter alone: the audio context [B, F, A, D] of a window and step. Arguments as in `forward`."""
        return self._adapt(self._embed(latents, timestep, reference), audio, audio_mask)

    def denoise(
        self,
        latents: Tensor,
        timestep: Tensor,
        reference: Tensor,
        audio_context: Tensor,
        audio_mask: Tensor,
        text: Tensor | None = None,
        image: Tensor | None = None,
        motion: Tensor | None = None,
    ) -> Tensor:
        """The transformer alone, on an adapted `audio_context` [B, F, A, D]; zeros stand for no audio."""
        return self._denoise(self._embed(latents, timestep, reference), audio_context, audio_mask, text, image, motion)

    def _embed(self, latents: Tensor, timestep: Tensor, reference: Tensor) -> _Window:
        t, h, w = self.config.patch_size
        frames, height, width = latents.shape[2:]
        assert (frames % t, height % h, width % w) == (0, 0, 0), (tuple(latents.shape), self.config.patch_size)
        embedding = self.time_embedding(sinusoid(timestep, self.config.freq_dim))
        return _Window(
            patches=self.patch_embedding(torch.cat((latents, reference), dim=1)),
            embedding=embedding,
            steering=self.time_projection(embedding),
            grid=(frames // t, height // h, width // w),
        )

    def _adapt(self, window: _Window, audio: Tensor, audio_mask: Tensor) -> Tensor:
        return self.vocal_projector(audio, audio_mask, window.patches, window.embedding, window.steering)

    def _denoise(
        self,
        window: _Window,
        audio_context: Tensor,
        audio_mask: Tensor,
        text: Tensor | None,
        image: Tensor | None,
        motion: Tensor | None,
    ) -> Tensor:
        context = self._context(audio_context, audio_mask, text, image)
        rotation = self.rope(*window.grid)
        x = self._moved(window, motion)
        for block in self.blocks:
            x = block(x, window.steering, rotation, context)
        return self.head(x, window.embedding, window.grid)

    def _moved(self, window: _Window, motion: Tensor | None) -> Tensor:
        """The patches [B, N, D], each told how the head moves in its latent frame."""
        assert (motion is not None) == bool(self.config.motion_dim), "motion goes exactly to a model that takes it"
        if motion is None:
            return window.patches
        per_frame = window.patches.unflatten(1, (window.grid[0], -1))
        return (per_frame + self.motion_embedding(motion).unsqueeze(2)).flatten(1, 2)

    def _context(self, audio_context: Tensor, audio_mask: Tensor, text: Tensor | None, image: Tensor | None) -> Context:
        config = self.config
        assert (text is not None) == bool(config.text_dim), "text goes exactly to a model that reads text"
        assert (image is not None) == bool(config.clip_dim), "image goes exactly to a model that sees images"
        return Context(
            audio=audio_context,
            audio_mask=audio_mask if config.mask_audio_padding and not _is_all_real(audio_mask) else None,
            text=None if text is None else self.text_embedding(text),
            image=None if image is None else self.img_emb(image),
        )

    def _initialise(self) -> None:
        """Starting weights for training: Xavier everywhere, a head that begins at zero."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:  # pyright: ignore[reportUnnecessaryComparison]  # torch's stub omits None
                    nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.patch_embedding.weight.flatten(1))
        nn.init.zeros_(self.head.head.weight)
        if self.config.motion_dim:
            last = self.motion_embedding[-1]
            assert isinstance(last, nn.Linear)
            nn.init.zeros_(last.weight)
