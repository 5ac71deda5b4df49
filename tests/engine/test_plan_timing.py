"""The choice between two ways of running a network is a function of their times, and names both."""

from __future__ import annotations

import pytest

from avacast.engine.plan_timing import PYTORCH, Timing, both_ms


@pytest.mark.parametrize(
    ("graph_ms", "told"),
    [
        (9.0, "decoder runs in ONNX Runtime: 9.0 ms against 10.0 ms in PyTorch"),
        (9.9, "decoder runs in PyTorch: 10.0 ms against 9.9 ms in ONNX Runtime"),
        (20.0, "decoder runs in PyTorch: 10.0 ms against 20.0 ms in ONNX Runtime"),
    ],
)
def test_a_graph_is_taken_only_where_it_is_clearly_faster(graph_ms: float, told: str):
    """Nearly equal is not faster; the reason names both times."""
    timing = Timing("decoder", "ONNX Runtime", graph_ms, 10.0)
    assert str(timing.choice()) == told
    assert timing.graph_is_faster == (timing.choice().runs_in != PYTORCH)


def test_what_does_more_takes_longer():
    """Each is called in turn, the first call of each is not counted."""
    calls: list[str] = []

    def work(name: str, size: int) -> None:
        calls.append(name)
        sum(range(size))

    graph_ms, other_ms = both_ms(lambda: work("graph", 20_000), lambda: work("other", 400_000))
    assert graph_ms < other_ms
    assert calls == ["graph", "other"] * 4
