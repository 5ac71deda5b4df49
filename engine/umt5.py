"""The UMT5 text encoder that reads prompts.

The network is transformers' `UMT5EncoderModel`; known here are the sizes, the zeroing of padding and the names in Wan
2.1's checkpoint. Nothing is known of tokenizers or of how the states are used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

BLOCK_NAMES = {
    "norm1": "layer.0.layer_norm",
    "attn.q": "layer.0.SelfAttention.q",
    "attn.k": "layer.0.SelfAttention.k",
    "attn.v": "layer.0.SelfAttention.v",
    "attn.o": "layer.0.SelfAttention.o",
    "pos_embedding.embedding": "layer.0.SelfAttention.relative_attention_bias",
    "norm2": "layer.1.layer_norm",
    "ffn.gate.0": "layer.1.DenseReluDense.wi_0",
    "ffn.fc1": "layer.1.DenseReluDense.wi_1",
    "ffn.fc2": "layer.1.DenseReluDense.wo",
}
"""Public name of a block's part to transformers'."""


@dataclass(frozen=True)
class Umt5Config:
    """Sizes of the encoder. Defaults: UMT5-XXL as Wan 2.1 uses it."""

    vocab_size: int = 256_384
    dim: int = 4096
    attention_dim: int = 4096
    ffn_dim: int = 10_240
    num_heads: int = 64
    num_layers: int = 24
    num_buckets: int = 32


class Umt5(nn.Module):
    """Token ids in, hidden states out."""

    def __init__(self, config: Umt5Config) -> None:
        from transformers import UMT5Config, UMT5EncoderModel

        super().__init__()
        self.network = UMT5EncoderModel(
            UMT5Config(
                vocab_size=config.vocab_size,
                d_model=config.dim,
                d_kv=config.attention_dim // config.num_heads,
                d_ff=config.ffn_dim,
                num_layers=config.num_layers,
                num_heads=config.num_heads,
                relative_attention_num_buckets=config.num_buckets,
                feed_forward_proj="gated-gelu",
            )
        )

    def forward(self, token_ids: Tensor, mask: Tensor) -> Tensor:
        """`token_ids` int64 [B, N] and `mask` bool [B, N], True where a token is real.

        Returns [B, N, dim], zero where the mask is False, as the transformer's text input wants it.
        """
        states: Tensor = self.network(input_ids=token_ids, attention_mask=mask.long()).last_hidden_state
        return states * mask.to(states.dtype).unsqueeze(-1)


def from_public_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An `Umt5` state dict from the tensors of the public checkpoint."""
    converted = {
        "shared.weight": weights["token_embedding.weight"],
        "encoder.embed_tokens.weight": weights["token_embedding.weight"],
        "encoder.final_layer_norm.weight": weights["norm.weight"],
    }
    for name, tensor in weights.items():
        if match := re.fullmatch(r"blocks\.(\d+)\.(.+)\.weight", name):
            converted[f"encoder.block.{match[1]}.{BLOCK_NAMES[match[2]]}.weight"] = tensor
    return {f"network.{name}": tensor for name, tensor in converted.items()}
