"""What the device could do at most: one large matrix product, one large copy, and attention by each implementation.

The other sections' figures stand beside these, measured in the same run.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F
from torch.nn.attention import sdpa_kernel

from avacast.bench.device_timer import Deadline, seconds_of
from avacast.bench.workbench import ATTENTIONS, Workbench
from avacast.engine.config import SPATIAL_STRIDE


def ceilings(bench: Workbench, figures: dict[str, Any], deadline: Deadline) -> None:
    """Fills in `matrix_tflops`, `copy_gb_per_s` (bytes read and written) and `attention`; chooses the attention."""
    figures["matrix_tflops"] = matrix_rate(bench) / 1e12
    bench.matrix_flops = 1e12 * figures["matrix_tflops"]
    figures["copy_gb_per_s"] = copy_rate(bench) / 1e9
    attention: dict[str, Any] = {}
    figures["attention_tflops"] = attention
    for name in ATTENTIONS:
        if not deadline.passed:
            attention[name] = attention_rate(bench, name)
    rates = {name: rate for name, rate in attention.items() if isinstance(rate, float)}
    figures["attention_refused"] = choose_attention(bench, sorted(rates, key=rates.__getitem__, reverse=True))
    figures["attention_chosen"] = bench.attention if bench.on_gpu else "PyTorch's choice"


def matrix_rate(bench: Workbench) -> float:
    """Floating-point operations a second of a square product of random numbers."""
    side = bench.workload.matrix_side
    a, b = bench.random(side, side), bench.random(side, side)
    product = torch.empty_like(a)
    return 2 * side**3 / seconds_of(lambda: torch.mm(a, b, out=product), bench.device)


def copy_rate(bench: Workbench) -> float:
    """Bytes a second of a copy on the device, read and written."""
    source = torch.empty(bench.workload.copy_bytes, dtype=torch.uint8, device=bench.device).fill_(1)
    target = torch.empty_like(source)
    return 2 * source.numel() / seconds_of(lambda: target.copy_(source), bench.device)


def attention_rate(bench: Workbench, name: str) -> float | str:
    """TFLOP/s of self-attention at the pipeline's window, or why there is none."""
    config = bench.config
    cells = (config.height // SPATIAL_STRIDE) * (config.width // SPATIAL_STRIDE)
    num_tokens = config.window.window * cells // (config.dit.patch_size[1] * config.dit.patch_size[2])
    # As the transformer has them: heads are a view of [B, N, D].
    query, key, value = (
        bench.random(1, num_tokens, config.dit.dim).unflatten(2, (config.dit.num_heads, -1)).transpose(1, 2)
        for _ in range(3)
    )
    operations = 4 * num_tokens**2 * config.dit.dim
    try:
        with sdpa_kernel(ATTENTIONS[name]):
            return (
                operations / 1e12 / seconds_of(lambda: F.scaled_dot_product_attention(query, key, value), bench.device)
            )
    except RuntimeError as error:
        return " ".join(str(error).split())[:200]


def choose_attention(bench: Workbench, names: list[str]) -> dict[str, str]:
    """Makes the first of `names` with which every network runs the one to ask first; why the others before it do not.

    What is fastest on the longest sequence may stumble over a mask or over the few tokens of a latent frame.
    """
    refused: dict[str, str] = {}
    for name in names:
        bench.attention = name
        try:
            with torch.inference_mode(), bench.attending():
                bench.try_networks()
            return refused
        except RuntimeError as error:
            refused[name] = " ".join(str(error).split())[:500]
    return refused
