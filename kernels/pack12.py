"""bfloat16 numbers kept in twelve bits: sign, all of the mantissa's seven bits, and four of the exponent's eight.

Knows the two planes that a tensor is packed into, and how many powers of two they span: the fifteen below the largest
magnitude of the tensor, in which nothing is lost, and seven more in which small numbers lose their last bits. What is
smaller becomes zero. Does not know whose numbers they are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from avacast.kernels.kernel import Kernel, Size, generator_on, launch, num_blocks, takes_kernel

MANTISSA_BITS = 7
SPAN = 15
"""Powers of two with a code of their own; code 0 is for what is smaller."""

LEAST_TOP = 32
"""Of the exponents that count as the largest: below it nothing is left of a number, and no code must be negative."""

BLOCK = 1024


def top_exponent(x: Tensor) -> Tensor:
    """The exponent, as bfloat16 stores it, of the largest magnitude of `x`: int32 `[]`, on its device."""
    largest = x.abs().amax().to(torch.bfloat16)
    return (largest.view(torch.int16) >> MANTISSA_BITS).int().clamp(min=LEAST_TOP)


def pack12(x: Tensor, top: Tensor) -> tuple[Tensor, Tensor]:
    """`x` bfloat16 `[N]`, N even, as signs and mantissas uint8 `[N]` and exponents uint8 `[N / 2]`, two to a byte.

    `top` is `x`'s `top_exponent`.
    """
    return (pack12_fused if takes_kernel(x, top) else pack12_reference)(x, top)


def unpack12(low: Tensor, high: Tensor, top: Tensor) -> Tensor:
    """bfloat16 `[N]` from what `pack12` made of it."""
    return (unpack12_fused if takes_kernel(low, high, top) else unpack12_reference)(low, high, top)


def pack12_reference(x: Tensor, top: Tensor) -> tuple[Tensor, Tensor]:
    """`pack12` in plain torch."""
    assert x.numel() % 2 == 0, f"{x.numel()} numbers are not pairs"
    bits = x.to(torch.bfloat16).view(torch.int16).int()
    mantissa, exponent = bits & 0x7F, (bits >> MANTISSA_BITS) & 0xFF
    code = exponent - (top - SPAN)
    # Below the span the leading one is written out and shifted; rounding may carry into the exponent, which is right.
    shift = (1 - code).clamp(0, 9)
    small = ((0x80 | mantissa) + (1 << shift >> 1)) >> shift
    packed = torch.where(code > 0, (code << MANTISSA_BITS) | mantissa, small)
    low = ((bits >> 8) & 0x80) | (packed & 0x7F)
    first, second = (packed >> MANTISSA_BITS).view(2, -1)
    return low.to(torch.uint8), (first | second << 4).to(torch.uint8)


def unpack12_reference(low: Tensor, high: Tensor, top: Tensor) -> Tensor:
    """`unpack12` in plain torch."""
    code = torch.cat((high & 0xF, high >> 4)).int()
    sign, mantissa = (low.int() & 0x80) << 8, low.int() & 0x7F
    one = 1 << MANTISSA_BITS
    large = (sign | (code + (top - SPAN)) << MANTISSA_BITS | mantissa).to(torch.int16).view(torch.bfloat16)
    step = ((top - SPAN + 1) << MANTISSA_BITS).to(torch.int16).view(torch.bfloat16).float() / one
    small = torch.where(sign > 0, -mantissa, mantissa) * step
    return torch.where(code > 0, large, small.to(torch.bfloat16))


def pack12_fused(x: Tensor, top: Tensor) -> tuple[Tensor, Tensor]:
    """`pack12` in one kernel."""
    from avacast.kernels.pack12_triton import pack_pairs

    assert x.numel() % 2 == 0, f"{x.numel()} numbers are not pairs"
    x = x.to(torch.bfloat16).contiguous()
    low, high = (torch.empty(num, dtype=torch.uint8, device=x.device) for num in (x.numel(), x.numel() // 2))
    num_pairs = high.numel()
    launch(pack_pairs, (num_blocks(num_pairs, BLOCK),), low, high, x.view(torch.int16), top, num_pairs, BLOCK=BLOCK)
    return low, high


def unpack12_fused(low: Tensor, high: Tensor, top: Tensor) -> Tensor:
    """`unpack12` in one kernel."""
    from avacast.kernels.pack12_triton import unpack_pairs

    x = torch.empty(low.numel(), dtype=torch.bfloat16, device=low.device)
    num_pairs = high.numel()
    launch(unpack_pairs, (num_blocks(num_pairs, BLOCK),), x.view(torch.int16), low, high, top, num_pairs, BLOCK=BLOCK)
    return x


def _numbers(size: Size, device: torch.device) -> Tensor:
    """The past of one convolution of the decoder at full resolution, of all magnitudes."""
    num = 2 * size.vae_width * size.height * size.width
    source = generator_on(device)
    x = torch.randn(num, generator=source, device=device) * torch.rand(num, generator=source, device=device) ** 8
    return x.to(torch.bfloat16)


def _pack_inputs(size: Size, device: torch.device, _dtype: torch.dtype) -> tuple[Any, ...]:
    x = _numbers(size, device)
    return x, top_exponent(x)


def _unpack_inputs(size: Size, device: torch.device, _dtype: torch.dtype) -> tuple[Any, ...]:
    x = _numbers(size, device)
    top = top_exponent(x)
    return *pack12_reference(x, top), top


KERNELS = (
    Kernel("pack12", pack12_reference, pack12_fused, _pack_inputs),
    Kernel("unpack12", unpack12_reference, unpack12_fused, _unpack_inputs),
)
