"""Decoding one latent frame: the Wan VAE and the tiny decoder, eager, compiled and as a CUDA graph with their state.

Figures are for one latent frame, which makes four video frames; a pass may hold several.
"""

from __future__ import annotations

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
    """Fills in `wan` and `tiny`, cell by cell: sizes, then latent frames in one pass, then memory layout."""
    vaes: dict[str, VAE] = {"wan": bench.networks.vae, "tiny": tiny_vae(bench)}
    with torch.inference_mode(), bench.attending():
        for name in vaes:
            figures[name] = []
        for size in bench.workload.sizes:
            for name, vae in vaes.items():
                for num_latents in bench.workload.latents_per_pass:
                    told = f"decoding, {name}, {size[1]}x{size[0]}, {num_latents} in a pass"
                    if not deadline.passed:
                        with bench.sparing(told):
                            measure_decode(bench, vae, size, num_latents, figures[name])
    figures["cut_short"] = deadline.passed


def tiny_vae(bench: Workbench) -> VAE:
    """The tiny decoder at its public size, with random weights."""
    with torch.inference_mode(False), torch.device(bench.device):
        return build_vae(bench.workload.tiny_vae).to(bench.device, bench.dtype).eval().requires_grad_(False)


def measure_decode(
    bench: Workbench, vae: VAE, size: tuple[int, int], num_latents: int, cells: list[dict[str, Any]]
) -> None:
    """Appends the ms for each latent frame when `num_latents` of them are decoded in one pass, later in a stream."""
    latents = bench.noise(*size, num_latents).to(bench.dtype)
    decode = decoder_call(vae)
    past = first_past(vae, latents[:, :, :1])
    cell: dict[str, Any] = {"height": size[0], "width": size[1], "latents_per_pass": num_latents}
    cells.append(cell)
    count = PartOperations()
    with count(DECODER):
        decode(latents, past)
    cell["tflop_per_latent"] = count.operations[DECODER] / num_latents / 1e12
    cell["state_mb"] = sum(x.numel() * x.element_size() for x in past) / 1e6

    def record(name: str, call: Callable[[], object]) -> None:
        seconds = seconds_of(call, bench.device) / num_latents
        cell[f"{name}_ms"] = 1000 * seconds
        cell[f"{name}_share"] = 1e12 * cell["tflop_per_latent"] / seconds / bench.matrix_flops

    record("eager", lambda: decode(latents, past))
    # As a session is served: captured, with the kernels, and not compiled.
    record("captured", decoder_graph(bench, decode, latents, past))
    compiled = bench.compile(decode)
    record("compiled", lambda: compiled(latents, past))
    record("graphed", decoder_graph(bench, compiled, latents, past))


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
