"""The fastest number type for each network on this machine, found by a short self-test when a model is loaded.

What a processor can do says too little: with AVX-512 alone, convolutions are faster in float32 although the processor
multiplies bfloat16; and a library may be told to leave instructions unused. So a block of the transformer and a step of
the decoder are timed in both types, on one thread: several wait for each other where other programs hold a core, and
count that as time. The choice itself is a function of the times. Knows no weights and no session.

Quantised linear layers are not tried. With PyTorch's dynamic int8 a pass of the pocket transformer took 51 ms; that is
more than bfloat16 with AMX (37), less than float32 (74). But its velocity was at 35 dB, where bfloat16 is at 47.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

import torch
from torch import nn

from avacast.engine.attention import Context
from avacast.engine.config import DiTConfig, ModelConfig, VAEConfig
from avacast.engine.dit import Block
from avacast.engine.networks import build_vae, decode_step
from avacast.engine.precision import Precision
from avacast.engine.rope import RotaryEmbedding

MAX_SHARE = 0.9
"""Of float32's time that bfloat16 may take: beyond it the gain is as good as none, and float32 is exact."""

_MAX_TIMINGS = 5
_MAX_S = 0.12
"""Time for one network; beyond it nothing is timed again."""
_CLEAR = 3.0
"""Once one type takes this many times what the other does, nothing is timed again."""
_MAX_TOKENS = 256
_MAX_MULTIPLICATIONS = 2e8
"""Of the block's linear layers. A large model is timed on fewer tokens."""
_LATENT_SIDE = 8
_WAN_LATENT_SIDE, _WAN_BASE_DIM = 2, 32
"""The Wan decoder is timed on less, and narrower: it is several hundred times the work of a tiny one."""
_NUM_AUDIO_TOKENS = 16

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Timing:
    """One piece of a network in both number types, in milliseconds of processor time."""

    network: str
    piece: str
    float32_ms: float
    bfloat16_ms: float

    @property
    def dtype(self) -> torch.dtype:
        """The faster one; float32 where they are about equal."""
        return torch.bfloat16 if self.bfloat16_ms <= MAX_SHARE * self.float32_ms else torch.float32

    def __str__(self) -> str:
        coarse, fine = (f"{self.bfloat16_ms:.1f} ms", "bfloat16"), (f"{self.float32_ms:.1f} ms", "float32")
        (chosen_ms, chosen), (other_ms, other) = (coarse, fine) if self.dtype == torch.bfloat16 else (fine, coarse)
        return f"{self.network} in {chosen}: {chosen_ms} {self.piece} against {other_ms} in {other}"


def choose_precision(config: ModelConfig, device: str | torch.device) -> Precision:
    """What `config` runs in where the user says nothing: bfloat16 on an accelerator, on a CPU what is faster.

    A process asks each question once, so that all its pipelines of a model agree; the answer is logged.
    """
    if torch.device(device).type != "cpu":
        return Precision.of(torch.bfloat16)
    transformer, decoder = timings(config)
    return Precision(transformer.dtype, decoder.dtype)


def timings(config: ModelConfig) -> tuple[Timing, Timing]:
    """Transformer and decoder of `config` on one core of this CPU; timed once a process."""
    return _timings(config.dit, config.live_vae or config.vae)


@functools.cache
def _timings(dit: DiTConfig, vae: VAEConfig) -> tuple[Timing, Timing]:
    """Some three hundred milliseconds."""
    with torch.inference_mode(), _one_thread():
        measured = (
            Timing("transformer", "a block", *_both_ms(lambda dtype: _block_call(dit, dtype))),
            Timing("decoder", "a step", *_both_ms(lambda dtype: _decoder_call(vae, dtype))),
        )
    _log.info("%s; %s", *measured)
    return measured


@contextlib.contextmanager
def _one_thread() -> Generator[None]:
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)


def _both_ms(make_call: Callable[[torch.dtype], Callable[[], object]]) -> tuple[float, float]:
    """Milliseconds in float32 and bfloat16, the fastest of several. They take turns: what disturbs one disturbs both.

    The first call of each is not counted: memory and generated code are prepared in it.
    """
    calls = [make_call(dtype) for dtype in (torch.float32, torch.bfloat16)]
    for call in calls:
        call()
    deadline = time.perf_counter() + _MAX_S
    float32_ms = bfloat16_ms = float("inf")
    for _ in range(_MAX_TIMINGS):
        float32_ms = min(float32_ms, _milliseconds(calls[0]))
        bfloat16_ms = min(bfloat16_ms, _milliseconds(calls[1]))
        clear = max(float32_ms, bfloat16_ms) > _CLEAR * min(float32_ms, bfloat16_ms)
        if clear or time.perf_counter() > deadline:
            break
    return float32_ms, bfloat16_ms


def _milliseconds(call: Callable[[], object]) -> float:
    """Processor time of this thread: what else the cores do says nothing about the number type."""
    started = time.thread_time()
    call()
    return 1000 * (time.thread_time() - started)


def _block_call(config: DiTConfig, dtype: torch.dtype) -> Callable[[], object]:
    """A block of the transformer on as many tokens as fit the time."""
    with torch.device("meta"):
        block = Block(config)
    _fill(block, dtype)
    size = sum(parameter.numel() for parameter in block.parameters())
    num_tokens = max(8, min(_MAX_TOKENS, int(_MAX_MULTIPLICATIONS / size)))
    x = torch.full((1, num_tokens, config.dim), 0.5, dtype=dtype)
    timestep = torch.full((1, 6, config.dim), 0.5)
    rotation = RotaryEmbedding(config.head_dim)(1, 1, num_tokens)
    audio = torch.full((1, 1, _NUM_AUDIO_TOKENS, config.dim), 0.5, dtype=dtype)
    context = Context(audio, torch.ones(audio.shape[:3], dtype=torch.bool))
    return lambda: block(x, timestep, rotation, context)


def _decoder_call(config: VAEConfig, dtype: torch.dtype) -> Callable[[], object]:
    """A step of the decoder that makes four small pictures."""
    side = _LATENT_SIDE
    if config.kind == "wan":
        config, side = replace(config, base_dim=min(config.base_dim, _WAN_BASE_DIM)), _WAN_LATENT_SIDE
    with torch.device("meta"):
        vae = build_vae(config)
    _fill(vae, dtype)
    latents = torch.full((1, config.latent_channels, 1, side, side), 0.5, dtype=dtype)
    _, state = decode_step(vae, latents, None)
    return lambda: decode_step(vae, latents, state)


def _fill(module: nn.Module, dtype: torch.dtype) -> None:
    """Gives a module built on the meta device one small number everywhere: speed does not depend on it."""
    module.to(dtype).to_empty(device="cpu").eval().requires_grad_(False)
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.fill_(0.01)
