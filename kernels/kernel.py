"""What every kernel of this room is: a plain reference, a fused version of it, and inputs to try both on.

Knows when a call may take the fused version, and how wide its blocks are. Knows no single kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, TypeAlias

import torch
from torch import Tensor

HAS_TRITON = find_spec("triton") is not None
"""Whether kernels can be compiled at all. Triton itself is imported by the first call that needs it."""

Outputs: TypeAlias = Tensor | tuple[Tensor, ...]


@dataclass(frozen=True)
class Size:
    """How large the avatar is whose tensors a kernel is tried on. Defaults: the released 1.3B model, a short window."""

    batch: int = 1
    num_latents: int = 9
    """Latent frames of a window."""
    overlap: int = 3
    """Latent frames that two windows share."""
    height: int = 512
    width: int = 512
    """Pixels."""
    latent_channels: int = 16
    dim: int = 1536
    num_heads: int = 12
    patch: int = 2
    """Latent cells of a patch's side."""
    vae_width: int = 96
    """Channels of the decoder at full resolution, where it moves the most bytes."""

    @property
    def latent_size(self) -> tuple[int, int]:
        """Height and width of a latent frame."""
        return self.height // 8, self.width // 8

    @property
    def num_tokens(self) -> int:
        """Patch tokens of a window."""
        height, width = self.latent_size
        return self.num_latents * (height // self.patch) * (width // self.patch)


@dataclass(frozen=True)
class Kernel:
    """One operation in its two versions. Both take the same arguments and return the same, up to rounding.

    Some write to their arguments: whoever compares the two makes the inputs anew for each.
    """

    name: str
    reference: Callable[..., Outputs]
    """Plain torch, on any device; what `torch.compile` is given."""
    fused: Callable[..., Outputs]
    """The Triton kernel, on CUDA tensors."""
    inputs: Callable[[Size, torch.device, torch.dtype], tuple[Any, ...]]
    """Arguments of both at one size, the same for the same size, device and type."""


def takes_kernel(*tensors: Tensor) -> bool:
    """Whether a call with these tensors runs fused.

    It does where Triton is installed and all of them are on a GPU. Gradients and exported graphs need the reference: a
    kernel has no backward pass and means nothing to another runtime.
    """
    if not HAS_TRITON or torch.compiler.is_exporting() or not all(tensor.is_cuda for tensor in tensors):
        return False
    return not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors))


def launch(program: Any, grid: tuple[int, ...], *arguments: Any, **options: Any) -> None:
    """Runs `program`, a function of device code, once for each place of the grid."""
    program[grid](*arguments, **options)


def block_over(width: int) -> int:
    """The smallest power of two that holds `width`: Triton's blocks are no other size."""
    assert width > 0, width
    return 1 << (width - 1).bit_length()


def num_blocks(length: int, block: int) -> int:
    """Blocks that cover `length`, the last of them perhaps in part."""
    return -(-length // block)


def warps_for(block: int) -> int:
    """Warps for a block of values: sixteen values to a thread, from one warp to eight."""
    return min(8, max(1, block // 512))


def generator_on(device: torch.device) -> torch.Generator:
    """The source of a kernel's example inputs."""
    return torch.Generator(device).manual_seed(0)
