"""Latents cut into patches, one token each, and put together again: the first and the last layer of the transformer.

Knows where a patch lies in its window, in the public checkpoints' parameter names. Knows nothing of what happens to
tokens between the two.

Source: Wan 2.1 (arXiv 2503.20314).

Shapes: B batch, C latent channels, F latent frames, H x W latent cells, N patch tokens, D width.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from avacast.engine.config import DiTConfig
from avacast.engine.modulation import learned, norm_modulate, vectors


class PatchEmbedding(nn.Conv3d):
    """Cuts [B, in_dim, F, H, W] into patches of `patch_size` and embeds each: [B, N, D] in f, h, w order.

    Stored as a convolution, computed as the matrix product it is.
    """

    def __init__(self, config: DiTConfig) -> None:
        super().__init__(config.in_dim, config.dim, config.patch_size, stride=config.patch_size)
        self.patch_size = config.patch_size

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # torch's name for it
        t, h, w = self.patch_size
        cells = input.unflatten(4, (-1, w)).unflatten(3, (-1, h)).unflatten(2, (-1, t))
        patches = cells.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4).flatten(1, 3)
        return F.linear(patches, self.weight.flatten(1), self.bias)


class Head(nn.Module):
    """Last norm, modulation and projection from tokens [B, N, D] to latents [B, C, F, H, W]."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        t, h, w = self.patch_size = config.patch_size
        self.modulation = learned(2, config.dim)
        self.norm = nn.LayerNorm(config.dim, config.eps, elementwise_affine=False)
        self.head = nn.Linear(config.dim, t * h * w * config.latent_channels)

    def forward(self, x: Tensor, embedding: Tensor, grid: tuple[int, int, int]) -> Tensor:
        shift, scale = vectors(self.modulation, embedding.unsqueeze(1), x.dtype)
        x = self.head(norm_modulate(self.norm, x, shift, scale))
        patches = x.unflatten(2, (*self.patch_size, -1)).unflatten(1, grid)
        return patches.permute(0, 7, 1, 4, 2, 5, 3, 6).flatten(6, 7).flatten(4, 5).flatten(2, 3)
