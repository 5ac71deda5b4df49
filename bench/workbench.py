"""What the sections of `avacast bench gpu` share: the device, networks with random weights, and inputs to feed them.

Knows how a network is run eagerly or compiled, and by which attention; knows no section and prints nothing.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from avacast.bench.device_timer import seconds_of, synchronize
from avacast.bench.gpu_workload import Workload
from avacast.engine.audio_split import window_split
from avacast.engine.config import SAMPLE_RATE_HZ, SPATIAL_STRIDE, TEMPORAL_STRIDE, ModelConfig
from avacast.engine.dit import Block
from avacast.engine.errors import AvacastError
from avacast.engine.fused_block import FusedBlock, example
from avacast.engine.graph import Graph, StaticBuffers, Tensors
from avacast.engine.networks import Networks
from avacast.engine.profile import Profile
from avacast.engine.reference import NUM_MASK_CHANNELS
from avacast.engine.static_form import StaticShape
from avacast.engine.wan_vae import WanVAE
from avacast.engine.windows import frames_of_latents
from avacast.kernels import kernel
from avacast.kernels.catalogue import KERNELS
from avacast.kernels.kernel import Size

ATTENTIONS = {
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
}
"""PyTorch's, by the names of the report."""

_TOKEN_STRIDE, _TOKEN_REACH = 320, 400
"""Of wav2vec2's front end, in samples."""


class CompiledOrPlain(nn.Module):
    """A compiled call that goes on uncompiled, its reason kept, where the compiler fails: half a report is better."""

    def __init__(self, plain: Callable[..., Any], compiled: Callable[..., Any], reasons: dict[str, str]) -> None:
        super().__init__()
        self._calls = (plain, compiled)
        self._reasons = reasons

    def forward(self, *arguments: Any, **named: Any) -> Any:
        plain, compiled = self._calls
        name = type(plain).__name__ if isinstance(plain, nn.Module) else plain.__qualname__
        if name not in self._reasons:
            try:
                return compiled(*arguments, **named)
            except torch.OutOfMemoryError:
                raise  # it is the shape that is too large: others are compiled
            except Exception as error:  # noqa: BLE001  # compilers raise everything there is
                self._reasons[name] = f"{type(error).__name__}: {error}"[:2000]
        return plain(*arguments, **named)


@dataclass
class Workbench:
    """One device and one model on it. The networks are made when they are first asked for."""

    workload: Workload
    device: torch.device
    dtype: torch.dtype
    exports: Path | None = None
    """Folder of exports that are to be measured beside PyTorch."""
    attention: str = "flash"
    """What attention is asked for first; the fastest, once the ceilings have been measured."""
    matrix_flops: float = float("nan")
    """Operations a second of one large matrix product, once measured."""
    not_compiled: dict[str, str] = field(default_factory=dict[str, str])
    blocks_ms: dict[str, float] = field(default_factory=dict[str, float])
    """A block of the transformer as the compiler makes it and through the kernels, once `compiled_blocks` was asked."""
    not_captured: list[str] = field(default_factory=list[str])
    """What went wrong where the report goes on without a compiler or a graph."""
    not_measured: dict[str, str] = field(default_factory=dict[str, str])
    """What went wrong where it goes on without a figure."""

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def allocated_gb(self) -> float:
        """Device memory in use, in GB (10^9 bytes); on a CPU nobody counts."""
        return torch.cuda.memory_allocated(self.device) / 1e9 if self.on_gpu else 0.0

    @property
    def config(self) -> ModelConfig:
        return self.workload.config

    @cached_property
    def networks(self) -> Networks:
        """The model's networks with random weights, convolutions in channels-last memory."""
        torch.manual_seed(0)
        # Weights that were born in inference mode could not be used outside of it.
        with torch.inference_mode(False), torch.device(self.device):
            networks = Networks.build(self.config)
            # As built, the head is zero, and arithmetic on zeros is faster than on numbers.
            nn.init.xavier_uniform_(networks.dit.head.head.weight)
        networks = networks.for_inference(self.device, self.dtype)
        if isinstance(networks.vae, WanVAE):
            networks.vae.network.to_channels_last()
        return networks

    def release(self) -> None:
        """Lets memory go that a section, perhaps one that failed, no longer needs."""
        gc.collect()
        if self.on_gpu:
            torch.cuda.empty_cache()

    @contextlib.contextmanager
    def sparing(self, what: str) -> Generator[None]:
        """Around one measurement of many: where it fails, as when memory is too small for it, the next are made."""
        try:
            yield
        except AvacastError:
            raise
        except Exception as error:  # noqa: BLE001  # compilers raise everything there is
            self.not_measured[what] = f"{type(error).__name__}: {error}"[:2000]
        # Not before the error has let go of the call that it came from.
        if what in self.not_measured:
            self.release()

    def try_networks(self) -> None:
        """Runs every network once on the smallest shapes of the workload, and waits for it."""
        size, frames = (self.config.height, self.config.width), min(self.workload.windows)
        noise = self.noise(*size, frames).to(self.dtype)
        self.networks.dit(noise, torch.full((1,), 500.0, device=self.device), **self.conditions(*size, frames))
        self.networks.decode(noise[:, :, :1], None)
        self.networks.speech_encoder(torch.randn(1, self.num_samples(frames), device=self.device))
        synchronize(self.device)

    @cached_property
    def compiled_blocks(self) -> nn.ModuleList:
        """The transformer's blocks, compiled: all of them share one compilation. Of two ways the faster one.

        Which, is measured on one block at the pipeline's window and kept in `blocks_ms`.
        """
        blocks = self.networks.dit.blocks
        ways: dict[str, Callable[[nn.Module], nn.Module]] = {"compiled": nn.Identity(), "kernels": _fused}
        given = example(self.networks.dit, StaticShape(self.config, Profile(self.config.window), 1, self.dtype))
        for name, way in ways.items():
            call = self.compile(way(blocks[0]))
            try:
                self.blocks_ms[name] = 1000 * seconds_of(partial(call, *given), self.device)
            except Exception as error:  # noqa: BLE001  # a kernel that this GPU does not take costs the report nothing
                self.not_compiled[f"block, {name}"] = f"{type(error).__name__}: {error}"[:2000]
        fastest = min(self.blocks_ms, key=self.blocks_ms.__getitem__)
        return nn.ModuleList(self.compile(ways[fastest](block)) for block in blocks)

    def check_kernels(self) -> None:
        """Runs every kernel once; where one of them fails the report goes on without them, and says so."""
        if not (self.on_gpu and kernel.HAS_TRITON):
            return
        for one in KERNELS:
            try:
                one.fused(*one.inputs(Size(num_latents=2, overlap=1, height=64, width=64), self.device, self.dtype))
                synchronize(self.device)
            except Exception as error:  # noqa: BLE001  # whatever Triton or the driver raises
                self.not_compiled[f"kernel {one.name}"] = f"{type(error).__name__}: {error}"[:2000]
                kernel.HAS_TRITON = False

    def compile(self, call: Callable[..., Any]) -> CompiledOrPlain:
        """`call` through `torch.compile`; without a GPU through its front end only, which finds what breaks a graph."""
        compiled = torch.compile(call, fullgraph=True, backend="inductor" if self.on_gpu else "eager")
        return CompiledOrPlain(call, compiled, self.not_compiled)

    def graph(self, call: Callable[[Tensors], Tensors], buffers: StaticBuffers) -> Graph:
        """`call` captured; plain where that cannot be done."""
        try:
            return Graph(call, buffers)
        except RuntimeError as error:
            self.not_captured.append(f"{type(error).__name__}: {error}"[:2000])
            return Graph(call, buffers, capture=False)

    @contextlib.contextmanager
    def compiled(self) -> Generator[None]:
        """The transformer's blocks are the compiled ones."""
        dit = self.networks.dit
        plain, dit.blocks = dit.blocks, self.compiled_blocks
        try:
            yield
        finally:
            dit.blocks = plain

    @contextlib.contextmanager
    def attending(self) -> Generator[None]:
        """Attention by the chosen implementation wherever it can; on a CPU there is no choice."""
        if not self.on_gpu:
            yield
            return
        first = ATTENTIONS[self.attention]
        with sdpa_kernel([first, *(other for other in ATTENTIONS.values() if other != first)], set_priority=True):
            yield

    def conditions(self, height: int, width: int, frames: int, batch: int = 1) -> dict[str, Tensor]:
        """Random conditions of a window by `Conditioning`'s names, for a picture of `height` x `width` pixels."""
        dit, size = self.config.dit, (height // SPATIAL_STRIDE, width // SPATIAL_STRIDE)
        index, mask = window_split(self.num_tokens(frames), frames_of_latents(frames), self.config.audio.margin)
        conditions = {
            "reference": self.random(batch, NUM_MASK_CHANNELS + dit.latent_channels, frames, *size),
            "audio": self.random(batch, *index.shape, dit.audio_in_dim),
            "audio_mask": mask.to(self.device).expand(batch, -1, -1),
        }
        if dit.text_dim:
            conditions["text"] = self.random(batch, dit.text_len, dit.text_dim)
        if self.config.clip is not None:
            num_patches = (self.config.clip.image_size // self.config.clip.patch_size) ** 2
            conditions["image"] = self.random(batch, num_patches + 1, dit.clip_dim)
        if dit.motion_dim:
            conditions["motion"] = self.random(batch, frames, dit.motion_dim)
        return conditions

    def noise(self, height: int, width: int, frames: int, batch: int = 1) -> Tensor:
        """Latents float32 `[B, C, F, h, w]`."""
        size = (height // SPATIAL_STRIDE, width // SPATIAL_STRIDE)
        return self.random(batch, self.config.dit.latent_channels, frames, *size).float()

    def random(self, *shape: int) -> Tensor:
        return torch.randn(shape, device=self.device, dtype=self.dtype)

    def num_samples(self, frames: int) -> int:
        """Sound of a window of latent frames, in samples."""
        return frames * TEMPORAL_STRIDE * SAMPLE_RATE_HZ // self.config.fps

    def num_tokens(self, frames: int) -> int:
        """wav2vec2 tokens of a window's sound."""
        return (self.num_samples(frames) - _TOKEN_REACH) // _TOKEN_STRIDE + 1


def _fused(block: nn.Module) -> nn.Module:
    return FusedBlock(cast("Block", block))
