"""Where a stage of training stands, on disk: written beside and renamed, so that a stop loses nothing."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from avacast.training.optimiser import Optimiser


def save_stage(path: Path, module: nn.Module, optimiser: Optimiser) -> None:
    """Writes weights, their moving average and the optimiser's state."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".tmp")
    torch.save({"module": module.state_dict(), "optimiser": optimiser.state_dict()}, beside)
    beside.replace(path)


def load_stage(path: Path, module: nn.Module, optimiser: Optimiser) -> None:
    """Goes on from `path` if it is there."""
    if path.exists():
        state = torch.load(path, weights_only=True, map_location=next(module.parameters()).device)
        module.load_state_dict(state["module"])
        optimiser.load_state_dict(state["optimiser"])


def averaged_weights(path: Path, prefix: str = "") -> dict[str, Tensor]:
    """The moving average of a stage's weights, those under `prefix` with the prefix taken off."""
    state = torch.load(path, weights_only=True, map_location="cpu")
    average: dict[str, Tensor] = state["optimiser"]["average"]
    return {name.removeprefix(prefix): value for name, value in average.items() if name.startswith(prefix)}
