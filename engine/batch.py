"""Several sessions, one pass of the network: what each would compute alone, in one batch.

This module knows sessions that have a pass due, and keeps the fault of one from the others; it knows no windows, no
sound and no pixels.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor

from avacast.engine.frame import Frame
from avacast.engine.guidance import Conditioning
from avacast.engine.latent_stream import DuePass
from avacast.engine.networks import Networks
from avacast.engine.session import Session

OnFault: TypeAlias = Callable[[Session, Exception], None]
"""Told of a session that failed, and of what it raised."""

_log = logging.getLogger(__name__)

T = TypeVar("T")


def raised(session: Session, error: Exception) -> None:  # noqa: ARG001  # whose it is, the error's text says
    """The fault of one session ends the step of all."""
    raise error


def step(sessions: Sequence[Session], on_fault: OnFault = raised) -> list[list[Frame]]:
    """Advances every session of one pipeline that has sound for it by one pass; returns the frames that each then has.

    Windows of equal length share a pass whatever step they are at, so the shapes that occur are those of the profiles'
    windows and the batch sizes. All sessions begin to decode before the frames of any are waited for. One that fails
    has no frames; where `on_fault` returns, the others have theirs.
    """
    groups: dict[tuple[int, ...], list[tuple[Session, DuePass]]] = defaultdict(list)
    boundary = _Boundary(on_fault)
    with torch.inference_mode():
        for session in sessions:
            if (due := boundary.attempt(session, session.due)) is not None:
                groups[tuple(due.latents.shape)].append((session, due))
        for group in groups.values():
            _run(group, boundary)
        showings = [boundary.attempt(session, session.begin_show) for session in sessions]
        return [
            (boundary.attempt(session, showing.frames) if showing else None) or []
            for session, showing in zip(sessions, showings, strict=True)
        ]


class _Boundary:
    """Around all that is done for one session in a step; after its fault no more is."""

    def __init__(self, on_fault: OnFault) -> None:
        self._on_fault = on_fault
        self._faulty: set[Session] = set()

    def attempt(self, session: Session, work: Callable[[], T]) -> T | None:
        """What `work` returns; None after a fault."""
        if session in self._faulty:
            return None
        try:
            return work()
        except Exception as error:  # noqa: BLE001  # whatever it is, it is told, and the others go on
            self._faulty.add(session)
            self._on_fault(session, error)
            return None


def _run(group: list[tuple[Session, DuePass]], boundary: _Boundary) -> None:
    networks = group[0][0].networks
    assert all(session.networks is networks for session, _ in group), "a batch is of one pipeline"
    for (session, due), flow in zip(group, _flows(networks, group, boundary), strict=True):
        if flow is not None:
            boundary.attempt(session, partial(session.accept, due, flow))


def _flows(networks: Networks, group: list[tuple[Session, DuePass]], boundary: _Boundary) -> Sequence[Tensor | None]:
    """The velocity of each in one pass; where that fails, each by itself, which shows whose fault it is."""
    if len(group) > 1:
        try:
            return _velocity(networks, [due for _, due in group]).split(1)
        except Exception as error:  # noqa: BLE001  # raised again by the session at fault, if it is one's
            _log.warning("a pass of %d sessions failed, each takes its own: %s", len(group), error)
    return [boundary.attempt(session, partial(_velocity, networks, [due])) for session, due in group]


def _velocity(networks: Networks, passes: Sequence[DuePass]) -> Tensor:
    return networks.velocity(
        torch.cat([due.latents for due in passes]),
        torch.stack([due.sigma for due in passes]),
        torch.stack([due.timestep for due in passes]),
        Conditioning.batch([due.conditions for due in passes], networks.company),
    )
