"""How long a call takes on a device, by the device's own clock, and how much of a section's time is left.

Knows clocks and repetition; knows nothing of what is called.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch

MIN_RUNS, MAX_RUNS = 3, 50
MAX_S = 1.0
"""Of the timed runs of one call together, where there are more than the fewest."""


@dataclass(frozen=True)
class Deadline:
    """When a section has to stop measuring, on the monotonic clock."""

    at_s: float

    @classmethod
    def after(cls, seconds: float) -> Self:
        return cls(time.monotonic() + seconds)

    @property
    def left_s(self) -> float:
        return self.at_s - time.monotonic()

    @property
    def passed(self) -> bool:
        return self.left_s <= 0


def seconds_of(
    call: Callable[[], object], device: torch.device, *, max_s: float = MAX_S, min_runs: int = MIN_RUNS
) -> float:
    """The median time of one `call` in seconds, after one untimed run.

    On a GPU the calls are queued one behind the other, as in a stream, and timed by events between them.
    """
    call()
    synchronize(device)
    started = time.perf_counter()
    call()
    synchronize(device)
    once_s = max(time.perf_counter() - started, 1e-6)
    num_runs = max(min_runs, min(MAX_RUNS, int(max_s / once_s)))
    return statistics.median(_events(call, num_runs) if device.type == "cuda" else _wall_clock(call, num_runs))


def median_ms(call: Callable[[], object]) -> float:
    """The median time in ms of a `call` that itself waits for its result, by the wall clock, after one untimed run."""
    call()
    return 1000 * statistics.median(_wall_clock(call, MIN_RUNS))


def synchronize(device: torch.device) -> None:
    """Waits until `device` has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _events(call: Callable[[], object], num_runs: int) -> list[float]:
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(num_runs + 1)]
    marks[0].record()
    for mark in marks[1:]:
        call()
        mark.record()
    marks[-1].synchronize()
    return [before.elapsed_time(after) / 1000 for before, after in itertools.pairwise(marks)]


def _wall_clock(call: Callable[[], object], num_runs: int) -> list[float]:
    times: list[float] = []
    for _ in range(num_runs):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return times
