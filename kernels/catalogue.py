"""All kernels of this room, for those who time or check them one after the other.

A kernel stays in it only while it is faster on a GPU than what `torch.compile` makes of its reference.
"""

from __future__ import annotations

from avacast.kernels import modulate, overlap_fusion, pack12, rope, vae_norm, yuv

KERNELS = (
    *overlap_fusion.KERNELS,
    *modulate.KERNELS,
    *rope.KERNELS,
    *vae_norm.KERNELS,
    *pack12.KERNELS,
    *yuv.KERNELS,
)
