"""The timestep-aware audio adapter: wav2vec2 tokens refined by the noisy latents and the timestep.

Knows its own projection, blocks and head (`vocal_projector.*` of the public checkpoints). Does not know how tokens were
cut per latent frame, nor who reads the result.

Source: StableAvatar (arXiv 2508.08248), section on the time-step-aware audio adapter.

Shapes: B batch, F latent frames, A audio tokens of one latent frame, P patch tokens of one latent frame, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from avacast.engine.attention import attend
from avacast.engine.config import DiTConfig
from avacast.engine.feed_forward import FeedForward
from avacast.engine.modulation import learned, norm_modulate, vectors


class AudioProjection(nn.Module):
    """wav2vec2's width to the transformer's, padding zeroed after the norm.

    Where the configuration asks for it, each token also learns its place within its latent frame, which covers four
    video frames; without it only the tokens' content tells which of them a sound belongs to.
    """

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.proj = nn.Linear(config.audio_in_dim, config.dim, bias=False)
        self.norm = nn.LayerNorm(config.dim)
        self.positions: nn.Parameter | None = None
        if config.audio_positions:
            self.positions = nn.Parameter(torch.zeros(config.audio_positions, config.dim))

    def forward(self, audio: Tensor, audio_mask: Tensor) -> Tensor:
        x = self.norm(self.proj(audio))
        if self.positions is not None:
            x = x + self.positions
        return x * audio_mask.to(audio.dtype).unsqueeze(-1)


class LatentAttention(nn.Module):
    """Attention of a latent frame's audio tokens over the patch tokens of the same latent frame, without positions."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        dim, eps = config.dim, config.eps
        self.num_heads = config.audio_num_heads
        self.q = nn.Linear(dim, dim)
        self.k = nn.Linear(dim, dim)
        self.v = nn.Linear(dim, dim)
        self.o = nn.Linear(dim, dim)
        self.norm_q = nn.RMSNorm(dim, eps)
        self.norm_k = nn.RMSNorm(dim, eps)

    def forward(self, x: Tensor, patches: Tensor) -> Tensor:
        """`x` [B, F*A, D] attends to `patches` [B*F, P, D]; returns [B, F*A, D]."""
        per_frame = x.reshape(patches.shape[0], -1, x.shape[2])
        query, key = self.norm_q(self.q(per_frame)), self.norm_k(self.k(patches))
        return self.o(attend(query, key, self.v(patches), self.num_heads)).reshape(x.shape)


class AudioBlock(nn.Module):
    """The timestep steers, the latents are looked at, the timestep steers the feed-forward."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        dim, eps = config.dim, config.eps
        self.modulation = learned(6, dim)
        self.norm1 = nn.LayerNorm(dim, eps, elementwise_affine=False)
        self.norm3 = nn.LayerNorm(dim, eps)
        self.cross_attn = LatentAttention(config)
        self.norm2 = nn.LayerNorm(dim, eps, elementwise_affine=False)
        self.ffn = FeedForward(dim, 2 * dim, dim)

    def forward(self, x: Tensor, patches: Tensor, timestep: Tensor) -> Tensor:
        """`x` [B, F*A, D], `patches` [B*F, P, D], `timestep` [B, 6, D]; returns [B, F*A, D]."""
        shift, scale, gate, ffn_shift, ffn_scale, ffn_gate = vectors(self.modulation, timestep, x.dtype)
        x = torch.addcmul(x, gate, norm_modulate(self.norm1, x, shift, scale))
        x = x + self.cross_attn(self.norm3(x), patches)
        return torch.addcmul(x, ffn_gate, self.ffn(norm_modulate(self.norm2, x, ffn_shift, ffn_scale)))


class AudioHead(nn.Module):
    """Last norm, modulation and projection."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.modulation = learned(2, config.dim)
        self.norm = nn.LayerNorm(config.dim, config.eps, elementwise_affine=False)
        self.final_proj = nn.Linear(config.dim, config.dim)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """`x` [B, F*A, D], `embedding` [B, D] of the timestep; returns [B, F*A, D]."""
        shift, scale = vectors(self.modulation, embedding.unsqueeze(1), x.dtype)
        return self.final_proj(norm_modulate(self.norm, x, shift, scale))


class AudioAdapter(nn.Module):
    """`vocal_projector` of the public checkpoints."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.proj_model = AudioProjection(config)
        self.blocks = nn.ModuleList(AudioBlock(config) for _ in range(config.audio_num_layers))
        self.final_head = AudioHead(config)

    def forward(
        self, audio: Tensor, audio_mask: Tensor, patches: Tensor, embedding: Tensor, timestep: Tensor
    ) -> Tensor:
        """Refines the audio tokens of a window for one denoising step.

        `audio` [B, F, A, audio_in_dim] and `audio_mask` [B, F, A], True where a token is real; `patches` [B, F*P, D],
        the embedded noisy latents; `embedding` [B, D] and `timestep` [B, 6, D], the timestep before and after
        projection. Returns the audio context [B, F, A, D]; that of padded tokens carries no meaning.
        """
        num_frames = audio.shape[1]
        x = self.proj_model(audio, audio_mask).flatten(1, 2)
        per_frame = patches.unflatten(1, (num_frames, -1)).flatten(0, 1)
        for block in self.blocks:
            x = block(x, per_frame, timestep)
        return self.final_head(x, embedding).unflatten(1, (num_frames, -1))
