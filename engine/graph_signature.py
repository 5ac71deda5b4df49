"""What goes into an exported network and what comes out: names, shapes and types, all fixed.

Knows how a signature is written as JSON and whether given tensors meet it; knows no file, no runtime and no network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "bool": torch.bool,
}
"""The types that an exported network takes and gives, by the names in a manifest."""


@dataclass(frozen=True)
class TensorSpec:
    """One input or output."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, name: str, tensor: Tensor) -> TensorSpec:
        return cls(name, tuple(tensor.shape), tensor.dtype)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TensorSpec:
        """Raises KeyError, TypeError or ValueError for anything that `to_json` does not write."""
        shape = tuple(int(size) for size in values["shape"])
        return cls(str(values["name"]), shape, DTYPES[values["dtype"]])

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "shape": list(self.shape), "dtype": str(self.dtype).removeprefix("torch.")}

    def zeros(self, device: torch.device | str) -> Tensor:
        """A tensor of this kind."""
        return torch.zeros(self.shape, dtype=self.dtype, device=device)


@dataclass(frozen=True)
class GraphSignature:
    """Inputs and outputs of one network, in order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> GraphSignature:
        """Raises KeyError, TypeError or ValueError for anything that `to_json` does not write."""
        inputs, outputs = (tuple(TensorSpec.from_json(spec) for spec in values[side]) for side in ("inputs", "outputs"))
        return cls(inputs, outputs)

    def to_json(self) -> dict[str, Any]:
        return {side: [spec.to_json() for spec in getattr(self, side)] for side in ("inputs", "outputs")}

    def input(self, name: str) -> TensorSpec:
        return next(spec for spec in self.inputs if spec.name == name)

    def zeros(self, device: torch.device | str) -> dict[str, Tensor]:
        """Inputs of these kinds, by name."""
        return {spec.name: spec.zeros(device) for spec in self.inputs}

    def matches(self, other: GraphSignature) -> bool:
        """Whether both have the same names and shapes in the same order, of whatever types."""
        sides = ((self.inputs, other.inputs), (self.outputs, other.outputs))
        return all([(a.name, a.shape) for a in mine] == [(b.name, b.shape) for b in theirs] for mine, theirs in sides)

    def fits(self, tensors: Mapping[str, Tensor]) -> bool:
        """Whether `tensors` are these inputs by name and shape; types may differ, since numbers can be converted."""
        return {spec.name: spec.shape for spec in self.inputs} == {
            name: tuple(tensor.shape) for name, tensor in tensors.items()
        }
