"""A captured call: fixed buffers, carried state, and errors that say which shape changed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from avacast.engine.graph import Graph, StaticBuffers, Tensors

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")),
]


def running_sum(buffers: Tensors) -> dict[str, Tensor]:
    """A stream with a state: what came in is added to `total`, and twice the total is handed out."""
    total = buffers["total"] + buffers["x"]
    return {"total": total, "doubled": 2 * total}


def buffers_on(device: str) -> StaticBuffers:
    return StaticBuffers({"x": torch.zeros(3, device=device), "total": torch.zeros(3, device=device)})


@pytest.mark.parametrize("device", DEVICES)
def test_an_output_named_like_an_input_is_carried_over(device: str):
    """State stays in the buffers from call to call, and is not among what is returned."""
    graph = Graph(running_sum, buffers_on(device))
    for step in (1, 2, 3):
        outputs = graph(x=torch.full((3,), float(step), device=device))
    assert outputs.keys() == {"doubled"}
    assert outputs["doubled"].tolist() == [12.0] * 3
    assert graph.buffers["total"].tolist() == [6.0] * 3


@pytest.mark.parametrize("device", DEVICES)
def test_preparing_a_graph_runs_no_step(device: str):
    """Warm-up and capture leave the state as it was given."""
    assert Graph(running_sum, buffers_on(device)).buffers["total"].tolist() == [0.0] * 3


@pytest.mark.parametrize("device", DEVICES)
def test_inputs_left_out_stay(device: str):
    """What does not change between two calls is given once."""
    graph = Graph(running_sum, buffers_on(device))
    graph(x=torch.ones(3, device=device))
    assert graph()["doubled"].tolist() == [4.0] * 3


@pytest.mark.parametrize("device", DEVICES)
def test_switched_off_it_computes_the_same(device: str):
    """The off switch changes how, not what."""
    graphs = [Graph(running_sum, buffers_on(device), capture=capture) for capture in (None, False)]
    x = torch.arange(3.0, device=device)
    first, second = (graph(x=x)["doubled"].tolist() for graph in graphs)
    assert first == second
    assert [graph.captured for graph in graphs] == [device == "cuda", False]


def test_a_graph_can_be_used_inside_inference_mode_and_outside():
    """Buffers made in inference mode are written to outside of it, and the other way round."""
    with torch.inference_mode():
        graph = Graph(running_sum, buffers_on("cpu"))
        graph(x=torch.ones(3))
    graph(x=torch.ones(3))
    with torch.inference_mode():
        assert graph(x=torch.ones(3))["doubled"].tolist() == [6.0] * 3


def test_several_graphs_share_buffers():
    """Two calls over the same buffers go on from each other's state."""
    buffers = buffers_on("cpu")
    first, second = Graph(running_sum, buffers), Graph(running_sum, buffers)
    first(x=torch.ones(3))
    assert second()["doubled"].tolist() == [4.0] * 3


def test_buffers_keep_the_memory_layout_they_were_given():
    """A channels-last state stays channels-last, so that no copy rearranges it."""
    example = torch.zeros(1, 4, 2, 3, 3).contiguous(memory_format=torch.channels_last_3d)
    buffers = StaticBuffers({"past": example})
    buffers.fill({"past": torch.ones(1, 4, 2, 3, 3)})
    assert buffers["past"].is_contiguous(memory_format=torch.channels_last_3d)
    assert buffers.num_bytes == 4 * 4 * 2 * 3 * 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"x": torch.zeros(4)}, r"x is \[4\], its buffer is \[3\]"),
        ({"x": torch.zeros(3, dtype=torch.float64)}, "x is torch.float64, its buffer is torch.float32"),
        ({"y": torch.zeros(3)}, "no buffer 'y' among x, total"),
    ],
    ids=["shape", "dtype", "name"],
)
def test_what_does_not_fit_is_named(given: dict[str, Tensor], message: str):
    """A changed shape, another type or an unknown name is refused by name, before anything is written."""
    graph = Graph(running_sum, buffers_on("cpu"))
    with pytest.raises(AssertionError, match=message):
        graph(total=torch.ones(3), **given)
    assert graph.buffers["total"].tolist() == [0.0] * 3


def test_only_work_on_a_gpu_is_captured():
    """Asking for a capture on a CPU is a mistake, and so is asking a plain call for its memory."""
    with pytest.raises(AssertionError, match="only a GPU's work is captured"):
        Graph(running_sum, buffers_on("cpu"), capture=True)
    with pytest.raises(AssertionError, match="no memory pool"):
        _ = Graph(running_sum, buffers_on("cpu")).pool
