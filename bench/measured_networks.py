"""The networks of a pipeline with something around each of their calls: a clock, or a counter of operations.

Knows the calls that a session makes of its networks; the results are the networks' own.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import defaultdict
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from avacast.engine.guidance import Conditioning, Guidance
from avacast.engine.networks import DecoderState, Networks
from avacast.engine.pipeline import Pipeline
from avacast.engine.whole_window import LoopCall, WholeWindow

SPEECH_ENCODER, TRANSFORMER, DECODER = "speech encoder", "transformer", "decoder"

Around = Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True)
class _MeasuredNetworks(Networks):
    around: Around = field(kw_only=True)

    def velocity(self, latents: Tensor, sigma: Tensor, timestep: Tensor, conditions: Conditioning) -> Tensor:
        with self.around(TRANSFORMER):
            return super().velocity(latents, sigma, timestep, conditions)

    def guided_velocity(
        self, guidance: Guidance, latents: Tensor, sigma: Tensor, timestep: Tensor, conditions: Conditioning
    ) -> Tensor:
        with self.around(TRANSFORMER):
            return super().guided_velocity(guidance, latents, sigma, timestep, conditions)

    def decode(self, latents: Tensor, state: DecoderState | None) -> tuple[Tensor, DecoderState]:
        with self.around(DECODER):
            return super().decode(latents, state)


@dataclass(frozen=True)
class _MeasuredLoop:
    """All passes of a window, where they run as one call."""

    loop: LoopCall
    around: Around

    def fits(self, window: WholeWindow) -> bool:
        return self.loop.fits(window)

    def __call__(self, window: WholeWindow) -> Tensor:
        with self.around(TRANSFORMER):
            return self.loop(window)


@contextlib.contextmanager
def measured(pipeline: Pipeline, around: Around) -> Generator[Pipeline]:
    """The same model, with `around(part)` entered for each call of a part of it."""
    networks = pipeline.networks
    running = ExitStack()

    def before(_module: Any, _arguments: Any) -> None:
        running.enter_context(around(SPEECH_ENCODER))

    def after(_module: Any, _arguments: Any, _result: Any) -> None:
        running.close()

    # A session calls the encoder itself, not through `Networks`.
    encoder = networks.speech_encoder
    hooks = (encoder.register_forward_pre_hook(before), encoder.register_forward_hook(after))
    try:
        parts = {part.name: getattr(networks, part.name) for part in fields(Networks)}
        if (loop := networks.plans.loop) is not None:
            parts["plans"] = replace(networks.plans, loop=_MeasuredLoop(loop, around))
        yield Pipeline(pipeline.config, _MeasuredNetworks(**parts, around=around))
    finally:
        for hook in hooks:
            hook.remove()


class PartTimes:
    """Seconds spent in each part. The clock is the machine's, so it fits models on the CPU."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextlib.contextmanager
    def __call__(self, part: str) -> Generator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[part] += time.perf_counter() - started


class PartOperations:
    """Floating-point operations of the matrix products, attentions and convolutions in each part."""

    def __init__(self) -> None:
        self.operations: defaultdict[str, int] = defaultdict(int)

    @contextlib.contextmanager
    def __call__(self, part: str) -> Generator[None]:
        # The counter does not know what PyTorch takes on a CPU alone; the names are private.
        on_cpu = {
            torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_operations,  # noqa: SLF001
            torch.ops.mkldnn._linear_pointwise: _bfloat16_operations,  # noqa: SLF001
            torch.ops.mkl._mkl_linear: _float32_operations,  # noqa: SLF001
        }
        with FlopCounterMode(display=False, custom_mapping=on_cpu) as counter:
            yield
        self.operations[part] += counter.get_total_flops()


def _attention_operations(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """Of attention between tensors of these shapes."""
    return sdpa_flop_count(query, key, value)


def _bfloat16_operations(x: Any, _packed: Any, *_: Any, out_shape: Any, **__: Any) -> int:
    """Of a product with laid out weights, whose own shape says nothing."""
    return 2 * math.prod(x) * out_shape[-1]


def _float32_operations(x: Any, _packed: Any, weight: Any, *_: Any, **__: Any) -> int:
    """Of a product with weights of this shape, `[O, I]`."""
    return 2 * math.prod(x) * weight[0]
