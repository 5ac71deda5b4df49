"""The CLIP visual tower that gives the reference picture's image tokens.

The network is transformers' `CLIPVisionModel`; known here are the sizes, how a picture is prepared, which block the
tokens are taken after, and the names in Wan 2.1's checkpoint. Nothing is known of how the tokens are used.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avacast.engine.config import ClipConfig

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""Per colour, of CLIP's training pictures (Radford et al., arXiv 2103.00020)."""

PREFIX = "visual."

BLOCK_NAMES = {
    "norm1": "layer_norm1",
    "attn.proj": "self_attn.out_proj",
    "norm2": "layer_norm2",
    "mlp.0": "mlp.fc1",
    "mlp.2": "mlp.fc2",
}
"""Public name of a block's part to transformers' (the joint q, k, v projection is split apart)."""


class ClipVision(nn.Module):
    """A picture in, the tokens after all blocks but the last out; no final norm, no head."""

    def __init__(self, config: ClipConfig) -> None:
        from transformers import CLIPVisionConfig, CLIPVisionModel

        super().__init__()
        self.config = config
        self.network = CLIPVisionModel(
            CLIPVisionConfig(
                hidden_size=config.dim,
                intermediate_size=config.mlp_dim,
                num_hidden_layers=config.num_layers - 1,
                num_attention_heads=config.num_heads,
                image_size=config.image_size,
                patch_size=config.patch_size,
                hidden_act="gelu",
                layer_norm_eps=config.eps,
            )
        )
        # No weight: it must be there even where the weights are only described, on the meta device.
        num_tokens = (config.image_size // config.patch_size) ** 2 + 1
        positions = torch.arange(num_tokens, device="cpu")[None]
        self.network.embeddings.register_buffer("position_ids", positions, persistent=False)

    def forward(self, picture: Tensor) -> Tensor:
        """`picture` [B, 3, H, W] in 0..1, of any size; returns [B, 257, dim] (1 + patches at other sizes)."""
        size = (self.config.image_size, self.config.image_size)
        resized = F.interpolate(picture, size=size, mode="bicubic", align_corners=False)
        mean, std = (resized.new_tensor(values)[:, None, None] for values in (MEAN, STD))
        return self.network((resized - mean) / std).last_hidden_state


def from_public_names(weights: Mapping[str, Tensor], config: ClipConfig) -> dict[str, Tensor]:
    """A `ClipVision` state dict from the tensors `visual.*` of the public checkpoint.

    The last block and the head, which are not run, are left out.
    """
    tower = {name.removeprefix(PREFIX): tensor for name, tensor in weights.items() if name.startswith(PREFIX)}
    converted = {
        "embeddings.class_embedding": tower["cls_embedding"].flatten(),
        "embeddings.position_embedding.weight": tower["pos_embedding"][0],
        "embeddings.patch_embedding.weight": tower["patch_embedding.weight"],
    }
    for kind in ("weight", "bias"):
        # transformers spells it so.
        converted[f"pre_layrnorm.{kind}"] = tower[f"pre_norm.{kind}"]
        converted[f"post_layernorm.{kind}"] = tower[f"post_norm.{kind}"]
        for index in range(config.num_layers - 1):
            public, block = f"transformer.{index}", f"encoder.layers.{index}"
            for theirs, ours in BLOCK_NAMES.items():
                converted[f"{block}.{ours}.{kind}"] = tower[f"{public}.{theirs}.{kind}"]
            for ours, part in zip("qkv", tower[f"{public}.attn.to_qkv.{kind}"].chunk(3), strict=True):
                converted[f"{block}.self_attn.{ours}_proj.{kind}"] = part
    return {f"network.{name}": tensor for name, tensor in converted.items()}
