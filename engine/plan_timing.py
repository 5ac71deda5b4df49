"""Two ways of running a network, timed side by side; the choice between them, and how it is told.

The choice is a function of the two times. Knows calls and clocks; knows no network.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

MAX_SHARE = 0.95
"""Of the other's time that a graph may take: beyond it the two are as good as equal, and PyTorch needs no files."""

PYTORCH = "PyTorch"

_NUM_TIMINGS = 3


@dataclass(frozen=True)
class Choice:
    """Where a network runs, and why."""

    network: str
    runs_in: str
    reason: str

    def __str__(self) -> str:
        return f"{self.network} runs in {self.runs_in}: {self.reason}"


@dataclass(frozen=True)
class Timing:
    """One network in two ways, in milliseconds a call: as a graph, and in what it would run otherwise."""

    network: str
    runtime: str
    graph_ms: float
    other_ms: float
    other: str = PYTORCH

    @property
    def graph_is_faster(self) -> bool:
        return self.graph_ms <= MAX_SHARE * self.other_ms

    def choice(self) -> Choice:
        (chosen, chosen_ms), (left, left_ms) = (self.runtime, self.graph_ms), (self.other, self.other_ms)
        if not self.graph_is_faster:
            (chosen, chosen_ms), (left, left_ms) = (left, left_ms), (chosen, chosen_ms)
        return Choice(self.network, chosen, f"{chosen_ms:.1f} ms against {left_ms:.1f} ms in {left}")


def both_ms(graph: Callable[[], object], other: Callable[[], object]) -> tuple[float, float]:
    """Both in turn, so that what else the machine does strikes both; the fastest call counts."""
    for call in (graph, other):
        call()
    pairs = [(_milliseconds(graph), _milliseconds(other)) for _ in range(_NUM_TIMINGS)]
    graph_ms, other_ms = (min(times) for times in zip(*pairs, strict=True))
    return graph_ms, other_ms


def _milliseconds(call: Callable[[], object]) -> float:
    """On a CPU the processor time of all threads: what other programs take of the cores is no reason to choose."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        started = time.perf_counter()
        call()
        torch.cuda.synchronize()
        return 1000 * (time.perf_counter() - started)
    started = time.process_time()
    call()
    return 1000 * (time.process_time() - started)
