"""Work that a GPU does beside its main line, so that features, transformer and decoder overlap.

Knows streams, what waits for what, and how results come to the host. On a CPU there is one line, and the work is done
in turn.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Generator
from typing import Any, NamedTuple

import torch
from torch import Tensor


class SideStream:
    """A second line of work on `device`. Nothing here makes the host wait."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    @contextlib.contextmanager
    def beside_main(self) -> Generator[None]:
        """Work inside waits for nothing that the main line was given: it must read nothing that is made there."""
        if self._stream is None:
            yield
            return
        with torch.cuda.stream(self._stream):
            yield

    @contextlib.contextmanager
    def after_main(self, *inputs: Tensor) -> Generator[None]:
        """Work inside runs beside the main line, after all that the main line was given so far.

        `inputs` are the main line's tensors that it reads: their memory is not used again before it has.
        """
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream(self._device))
        self.reads(*inputs)
        with self.beside_main():
            yield

    def reads(self, *inputs: Tensor) -> None:
        """The memory of another line's `inputs` is not used again before this one has done what it was given so far."""
        if self._stream is not None:
            for tensor in inputs:
                tensor.record_stream(self._stream)

    def join(self, *outputs: Tensor) -> None:
        """The main line goes on only after all that this one was given so far.

        `outputs` are this line's tensors that the main line reads: their memory is not used again before it has.
        """
        if self._stream is None:
            return
        main = torch.cuda.current_stream(self._device)
        main.wait_stream(self._stream)
        for tensor in outputs:
            tensor.record_stream(main)

    def mark(self) -> Mark:
        """The end of all that this line was given so far."""
        if self._stream is None:
            return Mark(None, self._device)
        event = torch.cuda.Event()
        event.record(self._stream)
        return Mark(event, self._device)


class Mark:
    """A place in a line's work."""

    def __init__(self, event: Any, device: torch.device) -> None:
        self._event = event
        self._device = device

    def join(self) -> None:
        """The caller's line goes on only after it; what the marked line was given since is not waited for."""
        if self._event is not None:
            self._event.wait(torch.cuda.current_stream(self._device))


class Lines(NamedTuple):
    """The lines beside the main one, which is the transformer's."""

    listening: SideStream
    showing: SideStream
    keeping: SideStream
    """Takes earlier states to the host."""


@functools.lru_cache
def lines_of(device: torch.device) -> Lines:
    """The side lines of `device`, the same for all its sessions, whose networks share buffers and so take turns."""
    return Lines(SideStream(device), SideStream(device), SideStream(device))


class Fetched:
    """A tensor on its way to the host. The copy is queued behind what makes it; only `wait` waits, for it alone."""

    def __init__(self, tensor: Tensor) -> None:
        self._event: Any = None
        self._host = tensor
        if tensor.device.type == "cuda":
            self._host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self._host.copy_(tensor, non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record()

    @property
    def length(self) -> int:
        """Of its first axis."""
        return len(self._host)

    def wait(self) -> Tensor:
        """The tensor, on the host."""
        if self._event is not None:
            self._event.synchronize()
        return self._host


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A host tensor on `device`, without waiting for the copy."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
