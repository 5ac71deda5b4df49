"""What was made of a layer's parameters for inference, kept for as long as they are the same.

Knows parameters; knows nothing of what is made of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

Made = TypeVar("Made")


class Prepared(Generic[Made]):
    """One thing made of parameters. It is made again once they are others, were moved or were written to.

    Writing through `.data` goes unnoticed, as it does by autograd.
    """

    def __init__(self) -> None:
        self._made: Made | None = None
        # Held, so that their memory cannot become that of others.
        self._seen: list[tuple[Tensor, int]] = []

    def of(self, parameters: Sequence[Tensor], make: Callable[[Sequence[Tensor]], Made]) -> Made:
        """What `make` makes of `parameters`, now or at an earlier call."""
        if self._made is None or not all(map(_is_same, parameters, self._seen)):
            with torch.no_grad():
                self._made = make(parameters)
            self._seen = [(parameter.detach(), parameter._version) for parameter in parameters]  # noqa: SLF001
        return self._made

    def forget(self) -> None:
        """The next `of` makes it anew."""
        self.__init__()

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy of a layer has parameters of its own, of which nothing was made."""
        return (Prepared, ())


def _is_same(parameter: Tensor, seen: tuple[Tensor, int]) -> bool:
    before, version = seen
    return parameter.data_ptr() == before.data_ptr() and parameter._version == version  # noqa: SLF001  # no public name
