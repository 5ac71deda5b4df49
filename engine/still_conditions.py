"""What the transformer reads of texts and pictures, made once for each and kept for as long as it is asked for.

Knows which tensor was embedded before; how it is embedded is `step_graph`'s.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping

from torch import Tensor

from avacast.engine.dit import DiT
from avacast.engine.step_graph import still_conditions

MAX_STILL = 4
"""Texts, and pictures, whose keys and values are kept; a text of the released model takes 94 MB in bfloat16, which all
its sessions share, a picture 47 MB. Policy when full: what was asked for longest ago goes, and is made again."""


class StillConditions:
    """Keys and values of one `DiT`, by the very tensors that they were made of."""

    def __init__(self, dit: DiT) -> None:
        self._dit = dit
        self._texts, self._images = _Kept(), _Kept()

    def __call__(self, text: Tensor | None, image: Tensor | None) -> dict[str, Tensor]:
        """As `still_conditions`; made when a text or a picture is first seen."""
        return {
            **self._texts.find(text, lambda: still_conditions(self._dit, text, None)),
            **self._images.find(image, lambda: still_conditions(self._dit, None, image)),
        }

    def __len__(self) -> int:
        """Texts and pictures that are kept."""
        return len(self._texts.entries) + len(self._images.entries)


class _Kept:
    """At most `MAX_STILL` entries, each with the tensor it was made of: no other can come to have its identity."""

    def __init__(self) -> None:
        self.entries: OrderedDict[int, tuple[Tensor, Mapping[str, Tensor]]] = OrderedDict()

    def find(self, given: Tensor | None, make: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        if given is None:
            return {}
        if id(given) not in self.entries:
            while len(self.entries) >= MAX_STILL:
                self.entries.popitem(last=False)
            self.entries[id(given)] = given, make()
        self.entries.move_to_end(id(given))
        return self.entries[id(given)][1]
