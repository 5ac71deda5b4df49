"""What is made of a layer's parameters follows them."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from avacast.engine.prepared import Prepared


def _doubled(parameters: Sequence[Tensor]) -> Tensor:
    return 2 * parameters[0]


def test_it_is_made_once():
    """The same parameters give the same thing, not an equal one."""
    prepared, weight = Prepared[Tensor](), nn.Parameter(torch.ones(3))
    assert prepared.of([weight], _doubled) is prepared.of([weight], _doubled)


def test_it_follows_what_is_written_to_a_parameter():
    """A step of an optimiser, or weights that are loaded into their place, make it anew."""
    prepared, weight = Prepared[Tensor](), nn.Parameter(torch.ones(3))
    prepared.of([weight], _doubled)
    with torch.no_grad():
        weight.copy_(torch.full((3,), 4.0))
    assert torch.equal(prepared.of([weight], _doubled), torch.full((3,), 8.0))


def test_it_follows_a_parameter_that_takes_the_place_of_another():
    """Other parameters make it anew, however often they change places."""
    prepared = Prepared[Tensor]()
    for value in range(20):
        weight = nn.Parameter(torch.full((1000,), float(value)))
        assert torch.equal(prepared.of([weight], _doubled), 2 * weight)


def test_a_copy_begins_with_nothing():
    """A copied layer has parameters of its own, so that nothing of the first may serve it."""
    prepared, weight = Prepared[Tensor](), nn.Parameter(torch.ones(3))
    made = prepared.of([weight], _doubled)
    assert deepcopy(prepared).of([weight], _doubled) is not made
