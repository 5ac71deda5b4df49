"""Graphs against each other: who is taken, what is said, and which calls each is asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from avacast.engine.graph_signature import GraphSignature, TensorSpec
from avacast.engine.plan_contest import Contest, Entrant


@dataclass
class Busy:
    """A graph that takes a while."""

    signature: GraphSignature
    milliseconds: float
    runtime: str = "Some Runtime"

    def __call__(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        assert self.signature.fits(inputs)
        busy(self.milliseconds)
        return ()


def busy(milliseconds: float) -> None:
    until = time.process_time() + milliseconds / 1000
    while time.process_time() < until:
        pass


def entrant(milliseconds: float, told: str, size: int = 4) -> Entrant:
    signature = GraphSignature((TensorSpec("x", (1, size), torch.float32),), ())
    return Entrant(Busy(signature, milliseconds), told)


def plain(milliseconds: float) -> Callable[[dict[str, Tensor]], Callable[[], object]]:
    return lambda _inputs: lambda: busy(milliseconds)


def test_the_fastest_of_all_is_taken():
    """The first runs against PyTorch, each further one against the fastest before it."""
    contest = Contest(torch.device("cpu"))
    slow, fast, middle = entrant(12, "slow"), entrant(3, "fast"), entrant(7, "middle")
    assert [contest.enter("encoder", one, plain(20)) for one in (slow, fast, middle)] == [True, True, False]
    assert contest.fastest("encoder") == [fast.session]
    told = [(choice.runs_in, choice.reason.split(" in ")[1]) for choice in contest.choices]
    names = {one: f"Some Runtime ({one})" for one in ("slow", "fast", "middle")}
    assert told == [(names["slow"], "PyTorch"), (names["fast"], names["slow"]), (names["fast"], names["middle"])]


def test_what_is_slower_than_pytorch_is_not_taken():
    """And the next one still has PyTorch to beat."""
    contest = Contest(torch.device("cpu"))
    assert not contest.enter("encoder", entrant(12, "slow"), plain(5))
    assert not contest.enter("encoder", entrant(8, "less slow"), plain(5))
    assert contest.fastest("encoder") == []
    assert {choice.runs_in for choice in contest.choices} == {"PyTorch"}


def test_graphs_of_other_shapes_or_networks_do_not_compete():
    """Each answers for its own calls; the size is told."""
    contest = Contest(torch.device("cpu"))
    small, large, other = entrant(3, "a", size=4), entrant(8, "b", size=8), entrant(8, "c", size=4)
    assert contest.enter("encoder", small, plain(16), ", 4 samples")
    assert contest.enter("encoder", large, plain(16), ", 8 samples")
    assert contest.enter("CLIP", other, plain(16))
    assert contest.fastest("encoder") == [small.session, large.session]
    assert contest.fastest("CLIP") == [other.session]
    assert [choice.network for choice in contest.choices] == ["encoder, 4 samples", "encoder, 8 samples", "CLIP"]


def test_what_cannot_run_is_said_in_one_line():
    """However long the library's own words are."""
    contest = Contest(torch.device("cpu"))
    contest.refuse("decoder", "no\nGPU " * 1000)
    (choice,) = contest.choices
    assert choice.runs_in == "PyTorch"
    assert len(str(choice).splitlines()) == 1
    assert len(choice.reason) <= 500
