"""The released model's step graph at its true size: traced, written and compiled. Needs 16 GB of memory and minutes."""

from __future__ import annotations

import re
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from avacast.engine.config import ModelConfig
from avacast.engine.dit import DiT
from avacast.engine.presets import STABLEAVATAR_1_3B
from avacast.engine.static_form import StaticShape, signatures
from avacast.engine.step_graph import StepGraph
from avacast.export.float8 import Float8
from avacast.export.forms import StepByPosition
from avacast.export.onnx_file import write_onnx
from avacast.export.tensorrt_plan import PlanBuilder

if sys.platform != "linux":
    pytest.skip("TensorRT for RTX is among the development tools on Linux alone", allow_module_level=True)


OUTSIDE = re.compile(r"text_embedding|img_emb|\bcross_attn\.(k|v|norm_k|k_img|v_img|norm_k_img)\.")
"""Weights that make the cached keys and values: outside the graph, except for the adapter's own `cross_attn`."""


def random_transformer(config: ModelConfig, dtype: torch.dtype) -> DiT:
    with torch.device("meta"):
        dit = DiT(config.dit).to(dtype)
    dit = dit.to_empty(device="cpu").eval().requires_grad_(False)
    for parameter in dit.parameters():
        parameter.normal_(std=0.02)
    return dit


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("num_layers", "side"), [(2, 512), (STABLEAVATAR_1_3B.dit.num_layers, 128)])
def test_blocks_of_the_full_width_in_eight_bits_become_a_plan(
    num_layers: int, side: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Weights so large that the exporter leaves them transposed: two blocks of 512x512 pixels, and all thirty.

    These at 128x128: to measure the scales of 512x512 on a CPU takes more than 20 GB of memory.
    """
    transformer = replace(STABLEAVATAR_1_3B.dit, num_layers=num_layers)
    config = replace(STABLEAVATAR_1_3B, height=side, width=side, dit=transformer)
    signature = signatures(StaticShape(config, config.profile("mic"), 1, torch.float16))["step"]
    dit = random_transformer(config, torch.float16)
    form = StepByPosition(StepGraph(dit), tuple(spec.name for spec in signature.inputs))
    call = {name: torch.randn(zeros.shape).to(zeros.dtype) for name, zeros in signature.zeros("cpu").items()}
    started = time.monotonic()
    change = partial(Float8("blocks", [call]).quantise, signature=signature)
    graph, weights = write_onnx(form, signature, tmp_path / "step.onnx", change=change)
    written, num_bytes = time.monotonic(), weights.stat().st_size
    rounded = num_layers * (6 * config.dit.dim**2 + 2 * config.dit.dim * config.dit.ffn_dim)
    assert num_bytes < 2 * sum(parameter.numel() for parameter in dit.parameters()) - rounded
    del dit, form
    PlanBuilder("tensorrt_rtx", tmp_path / "timings").build(graph, tmp_path / "step.plan", lambda *_: None)
    assert (tmp_path / "step.plan").stat().st_size > 0.9 * num_bytes
    with capsys.disabled():
        seconds = written - started, time.monotonic() - written
        print(f"\nwritten in {seconds[0]:.0f} s, {num_bytes / 1e6:.0f} MB of weights, built in {seconds[1]:.0f} s")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_full_size_step_graph_becomes_a_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """1.3 B parameters and the adapter in bfloat16, 512x512, with cached text and image keys and values."""
    config = STABLEAVATAR_1_3B
    signature = signatures(StaticShape(config, config.profile("mic"), 1, torch.bfloat16))["step"]
    dit = random_transformer(config, torch.bfloat16)
    started = time.monotonic()
    form = StepByPosition(StepGraph(dit), tuple(spec.name for spec in signature.inputs))
    graph, weights = write_onnx(form, signature, tmp_path / "step.onnx")
    traced = time.monotonic()
    num_bytes = weights.stat().st_size
    read = [parameter.numel() for name, parameter in dit.named_parameters() if not OUTSIDE.search(name)]
    assert num_bytes == pytest.approx(2 * sum(read), rel=0.01)
    del dit, form
    PlanBuilder("tensorrt_rtx", tmp_path / "timings").build(graph, tmp_path / "step.plan", lambda *_: None)
    assert (tmp_path / "step.plan").stat().st_size > 0.9 * num_bytes
    with capsys.disabled():
        seconds = traced - started, time.monotonic() - traced
        print(f"\ntraced in {seconds[0]:.0f} s, {num_bytes / 1e9:.2f} GB of weights, built in {seconds[1]:.0f} s")
