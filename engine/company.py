"""What several sessions read of texts and pictures, as one batch, made once for each company of them.

Knows which tensors were joined before, so that whoever makes something of a batch's text, and keeps it by the very
tensor, need not make it at every pass. Knows nothing of what is read.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor

MAX_JOINED = 8
"""Batches that are kept: text and picture of a few companies of sessions, 4 and 0.7 MB a session at 1.3B. Policy when
full: what was asked for longest ago goes, and is joined again."""


class Company:
    """Joins tensors `[1, ...]` to `[B, ...]`, the same ones to the same tensor."""

    def __init__(self) -> None:
        # Each with the tensors that it was made of: no others can come to have their identities.
        self._joined: OrderedDict[tuple[int, ...], tuple[tuple[Tensor, ...], Tensor]] = OrderedDict()

    def join(self, tensors: Sequence[Tensor]) -> Tensor:
        """`torch.cat` of them, made when they are first seen together; one alone stays as it is."""
        if len(tensors) == 1:
            return tensors[0]
        key = tuple(map(id, tensors))
        if key not in self._joined:
            while len(self._joined) >= MAX_JOINED:
                self._joined.popitem(last=False)
            self._joined[key] = tuple(tensors), torch.cat(list(tensors))
        self._joined.move_to_end(key)
        return self._joined[key][1]
