"""A block of the transformer through the room's kernels, and the choice between it and what the compiler makes of one.

Knows the order of a block's parts, as `dit.Block` has it, and how both ways are timed. Knows no window and no stream.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn

from avacast.engine.attention import Context, KeysValues, SelfAttention, attend
from avacast.engine.dit import Block, DiT
from avacast.engine.modulation import vectors
from avacast.engine.plan_timing import both_ms
from avacast.engine.rope import Rotation
from avacast.engine.static_form import StaticShape, step_signature
from avacast.engine.step_graph import IMAGE, TEXT
from avacast.kernels.modulate import gated_residual_norm, norm_modulate, residual_norm_modulate
from avacast.kernels.rope import norm_rotate

BlockCall: TypeAlias = Callable[..., Tensor]

_log = logging.getLogger(__name__)


class FusedBlock(nn.Module):
    """`Block` with its norms, gates and residuals in three kernels and its rotary positions in one; shares weights."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor, timestep: Tensor, rotation: Rotation, context: Context) -> Tensor:
        """As `Block.forward`."""
        block = self.block
        shift, scale, gate, ffn_shift, ffn_scale, ffn_gate = vectors(block.modulation, timestep, x.dtype)
        seen = _self_attention(block.self_attn, norm_modulate(x, shift, scale, block.norm1.eps), rotation)
        norm = block.norm3
        x, normed = gated_residual_norm(x, seen, gate, norm.weight, norm.bias, norm.eps)
        heard = block.cross_attn(normed, context)
        x, normed = residual_norm_modulate(x, heard, ffn_shift, ffn_scale, block.norm2.eps)
        return torch.addcmul(x, ffn_gate, block.ffn(normed))


def fastest_blocks(dit: DiT, shape: StaticShape) -> list[BlockCall]:
    """The blocks of `dit` compiled, or through the kernels and compiled around them, whichever is faster at `shape`.

    Without a GPU they are the blocks themselves, so that the same is computed to the last bit. Raises RuntimeError
    where the compiler fails.
    """
    if not _compiles(dit):
        return list(dit.blocks)
    plain = [_compiled(block) for block in dit.blocks]
    fused = [_compiled(FusedBlock(cast("Block", block))) for block in dit.blocks]
    given = example(dit, shape)
    try:
        fused_ms, plain_ms = both_ms(lambda: fused[0](*given), lambda: plain[0](*given))
    except RuntimeError as error:
        _log.warning("the transformer runs without the kernels: %s", " ".join(str(error).split())[:300])
        plain[0](*given)
        return plain
    _log.info("a block takes %.2f ms through the kernels, %.2f ms as compiled", fused_ms, plain_ms)
    return fused if fused_ms < plain_ms else plain


def example(dit: DiT, shape: StaticShape) -> tuple[Tensor, Tensor, Rotation, Context]:
    """What a block is called with, of zeros."""
    weight, batch = dit.head.head.weight, shape.batch
    given = step_signature(shape).zeros(weight.device)
    audio = weight.new_zeros(*given["audio"].shape[:3], dit.config.dim)
    pairs = [(given[keys][0], given[values][0]) for keys, values in (TEXT, IMAGE) if keys in given]
    context = Context(
        audio,
        given["audio_mask"] if dit.config.mask_audio_padding else None,
        still=tuple(KeysValues(keys, values) for keys, values in pairs),
    )
    cos, sin = given["cos"], given["sin"]
    steering = torch.zeros(batch, 6, dit.config.dim, device=weight.device)
    return weight.new_zeros(batch, len(cos), dit.config.dim), steering, Rotation(cos, sin), context


def _self_attention(attention: SelfAttention, x: Tensor, rotation: Rotation) -> Tensor:
    norm_q, norm_k = attention.norm_q, attention.norm_k
    query, key = norm_rotate(
        attention.q(x),
        attention.k(x),
        norm_q.weight,
        norm_k.weight,
        rotation.cos,
        rotation.sin,
        _eps(norm_q),
    )
    return attention.o(attend(query, key, attention.v(x), attention.num_heads))


def _eps(norm: nn.RMSNorm) -> float:
    assert norm.eps is not None, "the norm of queries and keys says what it adds"
    return norm.eps


def _compiles(dit: DiT) -> bool:
    """A CPU has no launches to save, and its compiler needs a C++ compiler at hand."""
    return dit.head.head.weight.device.type == "cuda"


def _compiled(block: nn.Module) -> BlockCall:
    return torch.compile(block, fullgraph=True, dynamic=False)
