"""Decoding one latent frame: the Wan VAE and the tiny decoder, eager, compiled and as a CUDA graph with their state.

Figures are for one latent frame, which makes four video frames; a pass may hold several.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor

from avacast.bench.device_timer import Deadline, seconds_of
from avacast.bench.measured_networks import DECODER, PartOperations
from avacast.bench.workbench import Workbench
from avacast.engine.graph import Graph, StaticBuffers, Tensors
from avacast.engine.networks import VAE, build_vae
from avacast.engine.tiny_vae import StreamState
from avacast.engine.wan_vae import WanVAE

Past: TypeAlias = tuple[Tensor, ...]
Decode: TypeAlias = Callable[[Tensor, Past], tuple[Tensor, Past]]
"""Latents `[B, C, L, h, w]` and the past to frames `[B, 4L, 3, 8h, 8w]` in 0..1 and the next past."""

_PAST = "past_{:02}"


def decoding(bench: Workbench, figures: dict[str, Any], deadline: Deadline) -> None:
    """Fills in `wan` and `tiny`, cell by cell: sizes, then latent frames in one pass; `left_out` where time was over.

    All cells come first as they are, then again compiled: the compiler may take a minute for one of them, and none is
    begun that would have to be faster than the one before.
    """
    vaes: dict[str, VAE] = {"wan": bench.networks.vae, "tiny": tiny_vae(bench)}
    figures |= {name: [] for name in vaes}
    shapes = [
        (size, name, num) for size in bench.workload.sizes for name in vaes for num in bench.workload.latents_per_pass
    ]
    figures["left_out"] = left_out = list[str]()
    cells: list[DecodeCell] = []
    with torch.inference_mode(), bench.attending():
        for size, name, num_latents in shapes:
            told = f"decoding, {name}, {size[1]}x{size[0]}, {num_latents} in a pass"
            if deadline.passed:
                left_out.append(told)
                continue
            with bench.sparing(told):
                cell = DecodeCell(bench, vaes[name], size, num_latents, told)
                figures[name].append(cell.figures)
                cell.measure()
                cells.append(cell)
        longest_s = 0.0
        for cell in cells:
            if deadline.left_s <= longest_s:
                left_out.append(f"{cell.told}, compiled")
                continue
            started = time.monotonic()
            with bench.sparing(f"{cell.told}, compiled"):
                cell.measure_compiled()
            longest_s = max(longest_s, time.monotonic() - started)


def tiny_vae(bench: Workbench) -> VAE:
    """The tiny decoder at its public size, with random weights."""
    with torch.inference_mode(False), torch.device(bench.device):
        return build_vae(bench.workload.tiny_vae).to(bench.device, bench.dtype).eval().requires_grad_(False)


class DecodeCell:
    """`num_latents` latent frames decoded in one pass, later in a stream; `figures` are ms for each of them."""

    def __init__(self, bench: Workbench, vae: VAE, size: tuple[int, int], num_latents: int, told: str) -> None:
        self.told = told
        self.figures: dict[str, Any] = {"height": size[0], "width": size[1], "latents_per_pass": num_latents}
        self._bench = bench
        self._decode = decoder_call(vae)
        self._latents = bench.noise(*size, num_latents).to(bench.dtype)
        self._past = first_past(vae, self._latents[:, :, :1])

    def measure(self) -> None:
        """Eager, and as a session is served: captured, with the kernels, and not compiled."""
        count = PartOperations()
        with count(DECODER):
            self._decode(self._latents, self._past)
        self.figures["tflop_per_latent"] = count.operations[DECODER] / self._latents.shape[2] / 1e12
        self.figures["state_mb"] = sum(x.nbytes for x in self._past) / 1e6
        self._record("eager", lambda: self._decode(self._latents, self._past))
        self._record("captured", decoder_graph(self._bench, self._decode, self._latents, self._past))

    def measure_compiled(self) -> None:
        """Compiled, and that captured."""
        compiled = self._bench.compile(self._decode)
        self._record("compiled", lambda: compiled(self._latents, self._past))
        self._record("graphed", decoder_graph(self._bench, compiled, self._latents, self._past))

    def _record(self, name: str, call: Callable[[], object]) -> None:
        seconds = seconds_of(call, self._bench.device) / self._latents.shape[2]
        self.figures[f"{name}_ms"] = 1000 * seconds
        self.figures[f"{name}_share"] = 1e12 * self.figures["tflop_per_latent"] / seconds / self._bench.matrix_flops


def decoder_call(vae: VAE) -> Decode:
    """One later step of a stream as a function of tensors."""
    if isinstance(vae, WanVAE):
        return vae.decode_frames

    def decode(latents: Tensor, past: Past) -> tuple[Tensor, Past]:
        frames, state = vae.decode_step(latents, StreamState(past))
        return frames, state.past

    return decode


def first_past(vae: VAE, latent: Tensor) -> Past:
    """What a stream remembers after its first latent frame `[B, C, 1, h, w]`."""
    return vae.decode_step(latent, None)[1].past


def decoder_graph(bench: Workbench, decode: Decode, latents: Tensor, past: Past) -> Graph:
    """A graph from `latents` to `frames` uint8 `[B, T, H, W, 3]` that carries the stream's past in its buffers."""
    names = [_PAST.format(index) for index in range(len(past))]

    def call(buffers: Tensors) -> dict[str, Tensor]:
        frames, kept = decode(buffers["latents"], tuple(buffers[name] for name in names))
        return {"frames": to_pictures(frames), **dict(zip(names, kept, strict=True))}

    return bench.graph(call, StaticBuffers({"latents": latents, **dict(zip(names, past, strict=True))}))


def to_pictures(frames: Tensor) -> Tensor:
    """Frames `[B, T, 3, H, W]` in 0..1 as uint8 `[B, T, H, W, 3]`, laid out as pictures are."""
    return (frames * 255).round().to(torch.uint8).permute(0, 1, 3, 4, 2).contiguous()
