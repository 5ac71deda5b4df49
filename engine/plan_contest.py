"""Graphs of a network against each other: each runs against the fastest before it, the first against PyTorch.

Knows names, shapes and times, and keeps what was chosen and why. It knows no network; where graphs come from is
`plan_choice`'s, how two are timed is `plan_timing`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor

from avacast.engine.graph_session import GraphSession
from avacast.engine.plan_timing import PYTORCH, Choice, Timing, both_ms

Shapes: TypeAlias = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Entrant:
    """A graph in the contest."""

    session: GraphSession
    told: str
    """Which one it is, where a runtime has several."""

    @property
    def runtime(self) -> str:
        return f"{self.session.runtime} ({self.told})"

    @property
    def shapes(self) -> Shapes:
        """Of its inputs: graphs with equal shapes answer for the same calls."""
        return tuple(spec.shape for spec in self.session.signature.inputs)


@dataclass
class Contest:
    """The fastest graphs so far, and all that was said of any."""

    device: torch.device
    choices: list[Choice] = field(default_factory=list[Choice])
    _fastest: dict[str, dict[Shapes, Entrant]] = field(default_factory=dict[str, Any])
    """By network, and by the shapes of its inputs."""

    def enter(
        self, network: str, entrant: Entrant, plain: Callable[[dict[str, Tensor]], Callable[[], object]], size: str = ""
    ) -> bool:
        """Whether `entrant` is the fastest of `network` at its shapes, which `size` names.

        `plain` makes PyTorch's call on the inputs that a graph takes.
        """
        inputs, fastest = entrant.session.signature.zeros(self.device), self._fastest.setdefault(network, {})
        rival = fastest.get(entrant.shapes)
        other = (lambda: rival.session(inputs)) if rival else plain(inputs)
        times = both_ms(lambda: entrant.session(inputs), other)
        timing = Timing(f"{network}{size}", entrant.runtime, *times, rival.runtime if rival else PYTORCH)
        self.choices.append(timing.choice())
        if timing.graph_is_faster:
            fastest[entrant.shapes] = entrant
        return timing.graph_is_faster

    def refuse(self, what: str, reason: str) -> None:
        """Leaves out what cannot be run."""
        self.choices.append(Choice(what, PYTORCH, " ".join(reason.split())[:500]))

    def fastest(self, network: str) -> list[GraphSession]:
        """The graphs of `network` that are taken, each for its own shapes."""
        return [entrant.session for entrant in self._fastest.get(network, {}).values()]
