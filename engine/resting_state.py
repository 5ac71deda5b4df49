"""What a stream's decoder remembers between two windows, in less memory.

Knows which states are worth packing and how a tensor's layout is kept; the packing is `kernels.pack12`'s. Knows no
stream.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self, TypeAlias

import torch
from torch import Tensor

from avacast.engine.networks import DecoderState
from avacast.engine.offload import Move
from avacast.engine.wan_vae import WanDecoderState
from avacast.kernels.pack12 import pack12, top_exponent, unpack12


@dataclass(frozen=True, eq=False)
class PackedTensor:
    """A bfloat16 tensor in twelve bits a number, which loses only what is 2^-15 of its largest number, or less."""

    low: Tensor
    high: Tensor
    top: Tensor
    shape: tuple[int, ...]
    """In the order of memory."""
    axes: tuple[int, ...]
    """The axis of memory that each axis of the tensor is."""

    @classmethod
    def of(cls, x: Tensor) -> Self:
        by_stride = sorted(range(x.ndim), key=lambda axis: (-x.stride(axis), axis))
        in_memory = x.permute(by_stride)
        flat, top = in_memory.reshape(-1), top_exponent(x)
        axes = tuple(by_stride.index(axis) for axis in range(x.ndim))
        return cls(*pack12(flat, top), top, tuple(in_memory.shape), axes)

    def unpacked(self) -> Tensor:
        """The tensor, in the memory layout that it had."""
        return unpack12(self.low, self.high, self.top).view(self.shape).permute(self.axes)

    def moved(self, move: Move) -> PackedTensor:
        return replace(self, low=move(self.low), high=move(self.high), top=move(self.top))

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return self.low, self.high, self.top


@dataclass(frozen=True, eq=False)
class RestingState:
    """A `WanDecoderState` whose bfloat16 tensors are packed: at 512x512 0.93 instead of 1.24 GB."""

    past: tuple[PackedTensor | Tensor, ...]

    @classmethod
    def of(cls, state: WanDecoderState) -> Self:
        return cls(tuple(PackedTensor.of(x) if _packs(x) else x for x in state.past))

    def awake(self) -> WanDecoderState:
        """The state that a decoder takes."""
        return WanDecoderState(tuple(x.unpacked() if isinstance(x, PackedTensor) else x for x in self.past))


Resting: TypeAlias = DecoderState | RestingState


def at_rest(state: DecoderState) -> Resting:
    """A state to be kept: the tiny decoder's is small and stays as it is."""
    return RestingState.of(state) if isinstance(state, WanDecoderState) else state


def awake(state: Resting | None) -> DecoderState | None:
    """A kept state, to be decoded with."""
    return state.awake() if isinstance(state, RestingState) else state


def moved(state: Resting, move: Move) -> Resting:
    """A kept state with every tensor elsewhere."""
    if isinstance(state, RestingState):
        return RestingState(tuple(x.moved(move) if isinstance(x, PackedTensor) else move(x) for x in state.past))
    return type(state)(tuple(move(x) for x in state.past))


def tensors_of(state: Resting) -> list[Tensor]:
    """All that a kept state consists of."""
    return [tensor for x in state.past for tensor in (x.tensors if isinstance(x, PackedTensor) else (x,))]


def num_bytes(state: Resting) -> int:
    """The memory that a state takes where it was made."""
    return sum(tensor.nbytes for tensor in tensors_of(state))


def _packs(x: Tensor) -> bool:
    return x.dtype == torch.bfloat16 and x.numel() % 2 == 0
