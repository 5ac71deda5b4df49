from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from avacast.kernels.pack12 import pack12, pack12_fused, top_exponent, unpack12, unpack12_fused


def there_and_back(x: Tensor) -> Tensor:
    top = top_exponent(x)
    low, high = pack12(x, top)
    assert low.numel() + high.numel() == 1.5 * x.numel()
    return unpack12(low, high, top)


def every_number(largest: float) -> Tensor:
    """All finite bfloat16 numbers up to `largest`, both signs, and zero."""
    every = torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    chosen = every[every.float().abs() <= largest]
    return chosen[: len(chosen) // 2 * 2]


@pytest.mark.parametrize("largest", [1.0, 1.9921875, 6.0, 200.0, 1e30, 1e-20])
def test_nothing_is_lost_within_fifteen_powers_of_two(largest: float):
    """And below them no more than half of the smallest step, to either side of zero."""
    x = every_number(largest)
    back = there_and_back(x)
    top = 2.0 ** torch.tensor(largest).log2().floor().item()
    exact = x.float().abs() >= top * 2.0**-14
    assert torch.equal(back[exact], x[exact])
    assert exact.sum() > 3_500
    assert (back.double() - x.double()).abs().max() <= top * 2.0**-14 * 2.0**-8


def test_zeros_stay_zeros():
    assert torch.equal(there_and_back(torch.zeros(6, dtype=torch.bfloat16)), torch.zeros(6, dtype=torch.bfloat16))


@given(st.lists(st.floats(-300, 300, width=32), min_size=2, max_size=40).filter(lambda x: len(x) % 2 == 0))
def test_packing_twice_changes_nothing_more(values: list[float]):
    """A state that rests, wakes and rests again stays what it is."""
    once = there_and_back(torch.tensor(values).to(torch.bfloat16))
    assert torch.equal(there_and_back(once), once)


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize("largest", [1.0, 200.0, 1e-20])
def test_the_kernel_packs_every_number_as_the_reference_does(largest: float):
    x = every_number(largest)
    top = top_exponent(x)
    assert all(torch.equal(a, b) for a, b in zip(pack12_fused(x, top), pack12(x, top), strict=True))
    assert torch.equal(unpack12_fused(*pack12(x, top), top), unpack12(*pack12(x, top), top))


def test_what_is_not_paired_is_a_broken_contract():
    with pytest.raises(AssertionError, match="not pairs"):
        there_and_back(torch.ones(3, dtype=torch.bfloat16))
