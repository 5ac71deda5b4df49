"""A call over named tensors, captured once as a CUDA graph and replayed; where there is no GPU, the same call, plain.

Knows buffers at fixed addresses, warm-up, capture and replay. Knows nothing of what is computed: the call is any
function of tensors alone, without synchronisation with the host, whose shapes never change.

A replay launches everything at once, so the time that Python takes for each small kernel is not spent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor

Tensors: TypeAlias = Mapping[str, Tensor]

NUM_WARMUPS = 3
"""Runs before a capture: kernels are compiled, algorithms chosen and workspaces allocated in them."""


class StaticBuffers:
    """Tensors at addresses that never change, by name: where graphs read what they are given.

    Apart from the graphs, so that several of them (one for each shape of the rest) may share what is large.
    """

    def __init__(self, examples: Tensors) -> None:
        """Buffers like `examples` in shape, dtype, device and memory layout, holding their values."""
        # Buffers are written to inside and outside of inference mode, which a tensor born in it does not allow.
        with torch.inference_mode(False), torch.no_grad():
            self._tensors = {name: torch.empty_like(example).copy_(example) for name, example in examples.items()}

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    @property
    def tensors(self) -> Tensors:
        return self._tensors

    @property
    def num_bytes(self) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in self._tensors.values())

    def fill(self, values: Tensors) -> None:
        """Copies `values` in, from any device, without waiting for the copies."""
        for name, value in values.items():
            self._check(name, value)
        with torch.no_grad():
            for name, value in values.items():
                self._tensors[name].copy_(value, non_blocking=True)

    def _check(self, name: str, value: Tensor) -> None:
        assert name in self._tensors, f"there is no buffer {name!r} among {', '.join(self._tensors)}"
        buffer = self._tensors[name]
        assert value.shape == buffer.shape, f"{name} is {list(value.shape)}, its buffer is {list(buffer.shape)}"
        assert value.dtype == buffer.dtype, f"{name} is {value.dtype}, its buffer is {buffer.dtype}"


class Graph:
    """One call, ready to be repeated.

    An output that has an input's name is that input's next value: it is carried over inside the graph, so that the
    state of a stream stays where it is. The other outputs are returned. On a GPU these stand in the graph's own memory
    and are overwritten by the next call: copy what must last.
    """

    def __init__(
        self,
        call: Callable[[Tensors], Tensors],
        buffers: StaticBuffers,
        *,
        capture: bool | None = None,
        pool: Any = None,
    ) -> None:
        """Warms `call` up on `buffers` and captures it; `capture` None does so where they are on a GPU.

        `pool` is another graph's, to share its memory with; only for graphs that never run at the same time, and whose
        outputs are used up before the other runs. The warm-up changes no buffer. Grad mode is that of the caller, who
        should capture and replay in the same.
        """
        self.buffers = buffers
        self._call = call
        self._device = next(iter(buffers.tensors.values())).device
        self._graph: torch.cuda.CUDAGraph | None = None
        self._outputs: Tensors = {}
        if self._device.type == "cuda" if capture is None else capture:
            assert self._device.type == "cuda", f"only a GPU's work is captured, these buffers are on {self._device}"
            self._capture(pool)

    @property
    def captured(self) -> bool:
        """Whether calls replay a CUDA graph."""
        return self._graph is not None

    @property
    def pool(self) -> Any:
        """The memory of a captured graph, for another to share."""
        assert self._graph is not None, "a call that was not captured has no memory pool"
        return self._graph.pool()

    def __call__(self, **inputs: Tensor) -> Tensors:
        """The outputs for `inputs`; those left out stay as they were. On a GPU it returns before the work is done."""
        self.buffers.fill(inputs)
        if self._graph is None:
            return self._run()
        self._graph.replay()
        return self._outputs

    def _capture(self, pool: Any) -> None:
        current, aside = torch.cuda.current_stream(self._device), torch.cuda.Stream(self._device)
        aside.wait_stream(current)
        with torch.cuda.stream(aside):
            for _ in range(NUM_WARMUPS):
                self._call(self.buffers.tensors)
        current.wait_stream(aside)
        torch.cuda.synchronize(self._device)
        graph = torch.cuda.CUDAGraph()
        # Other threads may allocate or copy meanwhile: only this thread's mistakes spoil the capture.
        with torch.cuda.graph(graph, pool=pool, stream=aside, capture_error_mode="thread_local"):
            self._outputs = self._run()
        self._graph = graph

    def _run(self) -> Tensors:
        outputs = self._call(self.buffers.tensors)
        carried = {name: output for name, output in outputs.items() if name in self.buffers.tensors}
        self.buffers.fill(carried)
        return {name: output for name, output in outputs.items() if name not in carried}
