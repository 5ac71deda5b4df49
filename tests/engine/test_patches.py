"""The transformer's first and last layer: where a patch lies."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from avacast.engine.config import DiTConfig
from avacast.engine.patches import Head, PatchEmbedding

CONFIG = DiTConfig(dim=16, num_heads=2, audio_num_heads=2, freq_dim=8, latent_channels=4, patch_size=(1, 2, 2))


def test_the_embedding_is_the_convolution_that_it_is_stored_as():
    """Patches in f, h, w order."""
    torch.manual_seed(0)
    embedding = PatchEmbedding(CONFIG)
    x = torch.randn(2, CONFIG.in_dim, 3, 4, 6)
    expected = F.conv3d(x, embedding.weight, embedding.bias, stride=CONFIG.patch_size).flatten(2).transpose(1, 2)
    torch.testing.assert_close(embedding(x), expected, rtol=1e-5, atol=1e-5)


def test_the_head_puts_every_patch_where_it_was_cut():
    """A change of one token changes its own cells of the latents and no others."""
    torch.manual_seed(0)
    head, grid = Head(CONFIG), (3, 2, 5)
    tokens, embedding = torch.randn(1, 30, 16), torch.randn(1, 16)
    other = tokens.clone()
    other[0, 2 * 10 + 1 * 5 + 3] += torch.randn(16)
    with torch.no_grad():
        changed = (head(tokens, embedding, grid) != head(other, embedding, grid))[0].any(dim=0)
    assert changed.shape == (3, 4, 10)
    assert changed[2, 2:4, 6:8].all()
    assert changed.sum() == 4
