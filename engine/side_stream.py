"""Work that a GPU does beside its main line, so that features, transformer and decoder overlap.

Knows streams and what waits for what. On a CPU there is one line, and the work is done in turn.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator

import torch
from torch import Tensor


class SideStream:
    """A second line of work on `device`. Nothing here makes the host wait."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    @contextlib.contextmanager
    def after_main(self, *inputs: Tensor) -> Generator[None]:
        """Work inside runs beside the main line, after all that the main line was given so far.

        `inputs` are the main line's tensors that it reads: their memory is not used again before it has.
        """
        if self._stream is None:
            yield
            return
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        for tensor in inputs:
            tensor.record_stream(self._stream)
        with torch.cuda.stream(self._stream):
            yield

    def join(self) -> None:
        """The main line goes on only after all that this one was given so far."""
        if self._stream is not None:
            torch.cuda.current_stream(self._device).wait_stream(self._stream)
