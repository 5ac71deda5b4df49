"""Products in eight bits: which, with what scales, and what they give in ONNX Runtime."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor, nn

from avacast.engine.errors import BadSetting
from avacast.engine.graph_session import OnnxRuntimeSession
from avacast.engine.graph_signature import GraphSignature, TensorSpec
from avacast.engine.static_form import StaticShape, signatures
from avacast.export import onnx_file
from avacast.export.float8 import MAX_FLOAT8, Float8
from avacast.export.onnx_file import write_onnx
from avacast.export.recording import batched, record
from avacast.export.verify import MAX_ERRORS, max_error, relative_error

WIDTH = 64


class Block(nn.Module):
    """Two layers that read the same, and a product without weights."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(WIDTH, 2 * WIDTH, bias=False)
        self.o = nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.a(x), self.b(x)
        return x + self.o((a @ b.mT).softmax(-1) @ b)


class Network(nn.Module):
    """An embedding, two blocks and a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Linear(16, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.head = nn.Linear(WIDTH, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embedding(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


SIGNATURE = GraphSignature(
    (TensorSpec("x", (1, 20, 16), torch.float16),), (TensorSpec("y", (1, 20, 8), torch.float16),)
)


def calls(scale: float = 1.0) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [{"x": scale * torch.randn(1, 20, 16, generator=generator)} for _ in range(3)]


def written(network: Network, folder: Path, recorded: Sequence[dict[str, Tensor]] | None = None) -> Path:
    change = partial(Float8("blocks", recorded or calls()).quantise, signature=SIGNATURE)
    file, *_ = write_onnx(network.half().eval(), SIGNATURE, folder / "network.onnx", change=change)
    return file


def made_by(graph: Any) -> dict[str, Any]:
    return {name: node for node in graph.node for name in node.output}


def test_products_with_weights_in_the_part_are_in_eight_bits_and_no_others(tmp_path: Path):
    """Three layers of two blocks; not attention, embedding or head. What two layers read is rounded once."""
    graph = onnx.load(written(Network(), tmp_path)).graph
    makers, constants = made_by(graph), {tensor.name: tensor for tensor in graph.initializer}
    products = [node for node in graph.node if node.op_type == "MatMul"]
    eight = [
        node for node in products if {makers[x].op_type for x in node.input if x in makers} == {"DequantizeLinear"}
    ]
    eight = [node for node in eight if node.input[1] in makers]
    assert (len(eight), len(products)) == (2 * 3, 2 * 5 + 2)
    stored = [constants[makers[node.input[1]].input[0]] for node in eight]
    assert {tensor.data_type for tensor in stored} == {onnx.TensorProto.FLOAT8E4M3FN}
    kinds = Counter(node.op_type for node in graph.node)
    assert kinds["QuantizeLinear"] == 2 * 2, "both layers read one rounded tensor"


def test_scales_come_from_the_recorded_calls_and_from_the_weights(tmp_path: Path):
    """The largest number becomes the format's largest; both sides have one scale, which TensorRT asks for."""
    network = Network()
    weights = network.blocks[0].a.weight.detach().clone()
    with torch.no_grad():
        largest = max(float(network.embedding(call["x"]).abs().max()) for call in calls())
    graph = onnx.load(written(network, tmp_path)).graph
    makers = made_by(graph)
    scales = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    first = next(node for node in graph.node if node.op_type == "MatMul" and node.input[1] in makers)
    given, stored = (scales[makers[name].input[1]] for name in first.input)
    assert given.shape == stored.shape == ()
    assert float(given) == pytest.approx(largest / MAX_FLOAT8, rel=5e-3)
    assert float(stored) == pytest.approx(float(weights.abs().max()) / MAX_FLOAT8, rel=5e-3)


@pytest.mark.parametrize("folded", [1 << 20, 16], ids=["folded", "transposed"])
def test_a_runtime_gives_what_the_network_does_but_for_the_rounding(
    folded: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Also where the weights are so large that the exporter leaves them transposed."""
    monkeypatch.setattr(onnx_file, "MAX_FOLDED", folded)
    network, call = Network(), calls()[0]
    with torch.no_grad():
        exact = network(call["x"])
    session = OnnxRuntimeSession(written(network, tmp_path), SIGNATURE, "cpu")
    assert 1e-3 < relative_error(session(call)[0], exact) < 5e-2


def test_numbers_beyond_the_recorded_ones_saturate(tmp_path: Path):
    """Eight bits have no infinity; a hundred times the largest number is the largest number."""
    session = OnnxRuntimeSession(written(Network(), tmp_path), SIGNATURE, "cpu")
    assert session(calls(100)[0])[0].isfinite().all()


def test_what_is_all_zeros_stays_zero(tmp_path: Path):
    """A layer that was never trained has no largest number to scale by, and neither has silence."""
    network = Network()
    for block in network.blocks:
        nn.init.zeros_(block.o.weight)
        nn.init.zeros_(block.a.weight)
    with torch.no_grad():
        exact = network(calls()[0]["x"])
    session = OnnxRuntimeSession(written(network, tmp_path), SIGNATURE, "cpu")
    assert relative_error(session(calls()[0])[0], exact) < 2e-3, "the blocks add their biases alone"


def test_numbers_beyond_float16_are_refused_in_a_sentence(tmp_path: Path):
    """The scale of infinity would be infinity."""
    with pytest.raises(BadSetting, match="beyond float16"):
        written(Network(), tmp_path, calls(1e6))


def test_a_batch_is_made_of_calls_of_one_session(released_pipeline: Any, picture: Any, sound: Any):
    """Tables are shared, keys and values joined behind the block, all else in front; as many calls as there were."""
    config = released_pipeline.config
    profile = config.profile("mic")
    alone, two = (signatures(StaticShape(config, profile, batch, torch.float32))["step"] for batch in (1, 2))
    recorded = record(released_pipeline, profile, picture, sound, {"step": alone}, max_calls=3).calls["step"]
    joined = list(batched(recorded, two))
    assert len(joined) == 3
    assert all(two.fits(call.inputs) for call in joined)
    assert torch.equal(joined[2].inputs["text_keys"][:, 1], recorded[0].inputs["text_keys"][:, 0])
    assert torch.equal(joined[0].outputs[0], torch.cat([recorded[0].outputs[0], recorded[1].outputs[0]]))


def test_only_a_network_with_a_part_in_eight_bits_has_their_bound():
    """The rest of such an export is float16."""
    assert max_error("fp8", "step") == MAX_ERRORS["fp8"]
    assert max_error("fp8", "decoder_step") == MAX_ERRORS["fp16"]
    assert max_error("bf16", "step") == MAX_ERRORS["bf16"]
