"""A block of the transformer through the kernels computes what the block computes."""

from __future__ import annotations

import copy
import logging
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import GraphModule

from avacast.engine import fused_block
from avacast.engine.attention import Context, KeysValues
from avacast.engine.dit import Block, DiT
from avacast.engine.fused_block import FusedBlock, example, fastest_blocks
from avacast.engine.pipeline import Pipeline
from avacast.engine.rope import Rotation
from avacast.engine.static_form import StaticShape

Given = tuple[Tensor, Tensor, Rotation, Context]


def shape_of(pipeline: Pipeline) -> StaticShape:
    return StaticShape(pipeline.config, pipeline.config.profile("mic"), 1, torch.float32)


def random(given: Given) -> Given:
    """The same with values; angles are real ones, and some tokens of sound are padding."""
    generator = torch.Generator().manual_seed(1)

    def filled(x: Tensor) -> Tensor:
        return torch.randn(x.shape, generator=generator)

    x, steering, rotation, context = given
    angle = torch.rand(rotation.cos.shape[0], rotation.cos.shape[1] // 2, generator=generator) * 6
    cos, sin = angle.cos().repeat_interleave(2, dim=1), torch.stack((-angle.sin(), angle.sin()), dim=-1).flatten(1)
    mask = torch.rand(context.audio.shape[:3], generator=generator) > 0.3
    still = tuple(KeysValues(filled(key), filled(value)) for key, value in context.still)
    return filled(x), filled(steering), Rotation(cos, sin), Context(filled(context.audio), mask, still=still)


def with_weights(dit: DiT) -> Block:
    """A block whose norms have weights of their own."""
    block = copy.deepcopy(cast("Block", dit.blocks[0])).requires_grad_(False)
    generator = torch.Generator().manual_seed(2)
    for module in block.modules():
        if isinstance(module, nn.RMSNorm) or (isinstance(module, nn.LayerNorm) and module.elementwise_affine):
            for parameter in module.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return block


@pytest.mark.parametrize("kind", ["tiny_pipeline", "released_pipeline"])
def test_it_computes_what_the_block_computes(kind: str, request: pytest.FixtureRequest):
    """With and without text and picture, on the references of the kernels."""
    pipeline: Pipeline = request.getfixturevalue(kind)
    dit = pipeline.networks.dit
    given, block = random(example(dit, shape_of(pipeline))), with_weights(dit)
    expected, actual = block(*given), FusedBlock(block)(*given)
    print(f"max {(actual - expected).abs().max():.1e} of values up to {expected.abs().max():.1f}")
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


def test_without_a_gpu_the_blocks_are_the_network_s(tiny_pipeline: Pipeline):
    """So an uncaptured session computes what a plain one does."""
    dit = tiny_pipeline.networks.dit
    assert fastest_blocks(dit, shape_of(tiny_pipeline)) == list(dit.blocks)


@pytest.mark.parametrize("way", [lambda block: block, FusedBlock], ids=["plain", "fused"])
def test_nothing_breaks_the_compiler_s_graph(released_pipeline: Pipeline, way: Any):
    """Either way it takes a block whole, and once for all blocks; what it makes of one computes the same."""
    dit = released_pipeline.networks.dit
    given, block = random(example(dit, shape_of(released_pipeline))), with_weights(dit)
    compilations: list[GraphModule] = []

    def backend(graph: GraphModule, _inputs: Any) -> Any:
        compilations.append(graph)
        return graph.forward

    with torch.inference_mode():
        for one in (block, *dit.blocks):
            compiled = torch.compile(way(one), fullgraph=True, dynamic=False, backend=backend)
            torch.testing.assert_close(compiled(*given), one(*given), atol=1e-5, rtol=1e-5)
    assert len(compilations) == 1


@pytest.mark.parametrize("faster", ["fused", "compiled"])
def test_of_two_ways_the_faster_one_is_taken(tiny_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, faster: str):
    """Both are compiled and timed on one block."""
    monkeypatch.setattr(fused_block, "_compiles", lambda _: True)
    monkeypatch.setattr(torch, "compile", lambda block, **_: block)
    times = {"fused": (1.0, 2.0), "compiled": (2.0, 1.0)}[faster]
    monkeypatch.setattr(fused_block, "both_ms", lambda fused, plain: (fused(), plain()) and times)
    with torch.inference_mode():
        blocks = fastest_blocks(tiny_pipeline.networks.dit, shape_of(tiny_pipeline))
    assert {type(block) for block in blocks} == {FusedBlock if faster == "fused" else Block}


def test_kernels_that_fail_are_left_in_one_line(
    tiny_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def broken(*_: object) -> None:
        raise RuntimeError("no\nkernel here")

    monkeypatch.setattr(fused_block, "_compiles", lambda _: True)
    monkeypatch.setattr(torch, "compile", lambda block, **_: block)
    monkeypatch.setattr(FusedBlock, "forward", broken)
    with torch.inference_mode(), caplog.at_level(logging.WARNING):
        blocks = fastest_blocks(tiny_pipeline.networks.dit, shape_of(tiny_pipeline))
    assert {type(block) for block in blocks} == {Block}
    assert caplog.messages == ["the transformer runs without the kernels: no kernel here"]


def test_on_a_gpu_the_compiler_takes_it_as_one_graph_with_four_kernels(
    released_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
):
    """Traced on tensors that claim to be on a GPU: nothing breaks the graph, and the kernels are in it."""
    monkeypatch.setattr("torch.utils._triton.has_triton", lambda *_: True)
    dit = released_pipeline.networks.dit
    x, steering, rotation, context = example(dit, shape_of(released_pipeline))
    graphs: list[GraphModule] = []

    def backend(graph: GraphModule, _inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    with FakeTensorMode(allow_non_fake_inputs=True):

        def on_gpu(tensor: Tensor) -> Tensor:
            return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cuda")

        block = cast("Block", dit.blocks[0])
        moved = Block(dit.config).requires_grad_(False)
        for name, parameter in block.named_parameters():
            owner, _, last = name.rpartition(".")
            setattr(moved.get_submodule(owner), last, nn.Parameter(on_gpu(parameter), requires_grad=False))
        still = tuple(KeysValues(on_gpu(key), on_gpu(value)) for key, value in context.still)
        # The mask's own arithmetic needs a PyTorch that was built for a GPU.
        sound = Context(on_gpu(context.audio), None, still=still)
        compiled = torch.compile(FusedBlock(moved), fullgraph=True, dynamic=False, backend=backend)
        output = compiled(on_gpu(x), on_gpu(steering), Rotation(on_gpu(rotation.cos), on_gpu(rotation.sin)), sound)
    assert output.shape == x.shape
    (graph,) = graphs
    kernels = [node for node in graph.graph.nodes if "triton_kernel" in node.name]
    assert len(kernels) == 4
