"""Device code of `pack12`; imported only where Triton runs. One program is a block of pairs of numbers."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _packed(bits: tl.tensor, top: tl.tensor) -> tl.tensor:
    """Eleven bits of a number: its exponent's code and its mantissa."""
    mantissa = bits & 0x7F
    code = ((bits >> 7) & 0xFF) - (top - 15)
    shift = tl.minimum(tl.maximum(1 - code, 0), 9)
    small = ((0x80 | mantissa) + ((1 << shift) >> 1)) >> shift
    return tl.where(code > 0, (code << 7) | mantissa, small)


@triton.jit
def _unpacked(low: tl.tensor, code: tl.tensor, top: tl.tensor) -> tl.tensor:
    """The bits of a number from its sign and mantissa and its exponent's code."""
    sign, mantissa = (low & 0x80) << 8, low & 0x7F
    # Seven bits as a whole number are exact in float32, and as its bits in bfloat16; the step is a power of two.
    step = (top - 14 - 7) << 23
    small = mantissa.to(tl.float32) * step.to(tl.float32, bitcast=True)
    bits = tl.where(code > 0, ((code + (top - 15)) << 7) | mantissa, small.to(tl.int32, bitcast=True) >> 16)
    return sign | bits


@triton.jit
def pack_pairs(
    low: tl.tensor, high: tl.tensor, x: tl.tensor, top: tl.tensor, num_pairs: tl.tensor, BLOCK: tl.constexpr
) -> None:
    """`x` as int16; a number and the one `num_pairs` after it share a byte of `high`."""
    pair = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = pair < num_pairs
    largest = tl.load(top)
    first_bits = tl.load(x + pair, mask=inside, other=0).to(tl.int32)
    second_bits = tl.load(x + num_pairs + pair, mask=inside, other=0).to(tl.int32)
    first, second = _packed(first_bits, largest), _packed(second_bits, largest)
    tl.store(low + pair, (((first_bits >> 8) & 0x80) | (first & 0x7F)).to(tl.uint8), mask=inside)
    tl.store(low + num_pairs + pair, (((second_bits >> 8) & 0x80) | (second & 0x7F)).to(tl.uint8), mask=inside)
    tl.store(high + pair, ((first >> 7) | ((second >> 7) << 4)).to(tl.uint8), mask=inside)


@triton.jit
def unpack_pairs(
    x: tl.tensor, low: tl.tensor, high: tl.tensor, top: tl.tensor, num_pairs: tl.tensor, BLOCK: tl.constexpr
) -> None:
    """As `pack_pairs`, the other way round."""
    pair = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = pair < num_pairs
    largest = tl.load(top)
    codes = tl.load(high + pair, mask=inside, other=0).to(tl.int32)
    first = tl.load(low + pair, mask=inside, other=0).to(tl.int32)
    second = tl.load(low + num_pairs + pair, mask=inside, other=0).to(tl.int32)
    tl.store(x + pair, _unpacked(first, codes & 0xF, largest).to(tl.int16), mask=inside)
    tl.store(x + num_pairs + pair, _unpacked(second, codes >> 4, largest).to(tl.int16), mask=inside)
