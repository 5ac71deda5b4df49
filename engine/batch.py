"""Several sessions, one pass of the network: what each would compute alone, in one batch.

This module knows sessions that have a pass due; it knows no windows, no sound and no pixels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch

from avacast.engine.guidance import Conditioning
from avacast.engine.latent_stream import DuePass
from avacast.engine.session import Frame, Session


def step(sessions: Sequence[Session]) -> list[list[Frame]]:
    """Advances every session of one pipeline that has sound for it by one pass; returns the frames that each then has.

    Windows of equal length share a pass whatever step they are at, so the shapes that occur are those of the profiles'
    windows and the batch sizes.
    """
    groups: dict[tuple[int, ...], list[tuple[Session, DuePass]]] = defaultdict(list)
    with torch.inference_mode():
        for session in sessions:
            if (due := session.due()) is not None:
                groups[tuple(due.latents.shape)].append((session, due))
        for group in groups.values():
            _run(group)
        return [session.show() for session in sessions]


def _run(group: list[tuple[Session, DuePass]]) -> None:
    networks = group[0][0].networks
    assert all(session.networks is networks for session, _ in group), "a batch is of one pipeline"
    passes = [due for _, due in group]
    velocity = networks.velocity(
        torch.cat([due.latents for due in passes]),
        torch.stack([due.sigma for due in passes]),
        torch.stack([due.timestep for due in passes]),
        Conditioning.batch([due.conditions for due in passes]),
    )
    for (session, due), flow in zip(group, velocity.split(1), strict=True):
        session.accept(due, flow)
