"""Tensors joined once for each company."""

from __future__ import annotations

import torch
from torch import Tensor

from avacast.engine.company import MAX_JOINED, Company


def texts(num: int) -> list[Tensor]:
    return [torch.full((1, 2, 3), float(number)) for number in range(num)]


def test_the_same_tensors_join_to_the_same_tensor():
    """In this order; equal values are not the same tensor, and another order is another batch."""
    company, (one, other) = Company(), texts(2)
    joined = company.join([one, other])
    assert torch.equal(joined, torch.cat([one, other]))
    assert company.join([one, other]) is joined
    assert torch.equal(company.join([other, one]), torch.cat([other, one]))
    assert company.join([one.clone(), other]) is not joined


def test_one_alone_stays_as_it_is():
    (text,) = texts(1)
    assert Company().join([text]) is text


def test_what_was_asked_for_longest_ago_goes():
    """A company that comes again after it went is joined again, and memory stays bounded."""
    company, parts = Company(), texts(MAX_JOINED + 2)
    first = company.join([parts[0], parts[1]])
    for part in parts[2:]:
        company.join([parts[0], part])
    assert company.join([parts[0], parts[1]]) is not first
    assert len(company._joined) == MAX_JOINED
