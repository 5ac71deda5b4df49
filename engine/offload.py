"""Earlier states of a stream in the host's memory, where they take none of a GPU's.

Knows how tensors get there and back beside all other work. What a state is made of, its owner knows. On a CPU nothing
is copied: states are shared as they are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from typing import TypeAlias

import torch
from torch import Tensor

from avacast.engine.side_stream import lines_of

Move: TypeAlias = Callable[[Tensor], Tensor]
"""The same tensor elsewhere, in the same memory layout."""


class Offload:
    """One session's way from `device` to the host and back. Nothing here makes the host wait.

    Copies to the host lie in pinned memory, which PyTorch keeps for the next ones and never gives back; only the first
    of a process take the time to pin it.
    """

    def __init__(self, device: torch.device, *, copies: bool | None = None) -> None:
        """`copies` says whether anything is copied; None does so from a GPU."""
        self._device = device
        self._copies = device.type == "cuda" if copies is None else copies
        self._line = lines_of(device).keeping
        self._left = self._line.mark()
        """The last copy to the host."""

    @contextlib.contextmanager
    def to_host(self) -> Generator[Move]:
        """What is moved inside goes to the host, after all that the caller's line was given so far, and beside it."""
        if not self._copies:
            yield _stay
            return
        with self._line.after_main():
            yield self._leave
        self._left = self._line.mark()

    def to_device(self) -> Move:
        """Brings back what went to the host, on the caller's line. What never left the device stays as it is."""
        if not self._copies:
            return _stay
        self._left.join()  # it may still be under way; what leaves for other sessions is not waited for
        return self._arrive

    def num_bytes(self, tensor: Tensor) -> int:
        """The memory that a kept tensor takes, here or on the host."""
        return pinned_bytes(tensor.nbytes) if self._copies and tensor.device.type == "cpu" else tensor.nbytes

    def _leave(self, tensor: Tensor) -> Tensor:
        self._line.reads(tensor)
        host = torch.empty_like(tensor, device="cpu", pin_memory=self._device.type == "cuda")
        return host.copy_(tensor, non_blocking=True)

    def _arrive(self, tensor: Tensor) -> Tensor:
        if tensor.device.type == "cuda":
            return tensor
        return torch.empty_like(tensor, device=self._device).copy_(tensor, non_blocking=True)


def pinned_bytes(num_bytes: int) -> int:
    """What so many bytes take in pinned memory, which PyTorch hands out in powers of two."""
    return 1 << (num_bytes - 1).bit_length() if num_bytes else 0


def _stay(tensor: Tensor) -> Tensor:
    return tensor
