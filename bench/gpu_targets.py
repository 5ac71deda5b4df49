"""What the project promises of one H200, and what a run says to it.

Knows figures by their names; measures nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple


class Target(NamedTuple):
    """One promise. `at_least` False means at most."""

    what: str
    path: tuple[str, ...]
    """Where the figure stands among all sections'."""
    bound: float
    at_least: bool = True


TARGETS = (
    Target("frames/s, Wan VAE", ("pipeline", "graphed_wan", "frames_per_s"), 60),
    Target("frames/s, tiny decoder", ("pipeline", "graphed_tiny", "frames_per_s"), 75),
    Target("share of the matrix ceiling, transformer", ("summary", "transformer_share"), 0.65),
    Target("first frame, ms", ("pipeline", "graphed_wan", "first_frame_ms"), 300, at_least=False),
    Target("times released, equal steps and branches", ("summary", "times_released_equal"), 2),
    Target("times released, its defaults", ("summary", "times_released_defaults"), 40),
    Target("memory of the first session, GB", ("pipeline", "graphed_wan", "first_session_gb"), 16, at_least=False),
    Target("memory of each further one, GB", ("session", "graphed", "further_session_gb"), 1, at_least=False),
)
"""At the true size, 512x512, four steps, one pass a step, windows of 9 with 3 overlapped, decoding included."""


def summary(sections: Mapping[str, Any]) -> dict[str, Any]:
    """Figures that take two sections; what a section did not measure is left out."""
    figures: dict[str, Any] = {}
    cells = look_up(sections, ("forward", "cells")) or [{}]
    share = cells[0].get("graphed_share", math.nan)
    if not math.isnan(share):  # as it is without the ceilings
        figures["transformer_share"] = share
    ours = look_up(sections, ("pipeline", "graphed_wan", "frames_per_s"))
    for name in ("equal", "defaults"):
        theirs = look_up(sections, ("baseline", name, "frames_per_s"))
        if ours and theirs:
            figures[f"times_released_{name}"] = ours / theirs
    return figures


def judged(sections: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every target with its figure, None where it was not measured, and whether it is met."""
    rows: list[dict[str, Any]] = []
    for target in TARGETS:
        value = look_up(sections, target.path)
        met = None if value is None else value >= target.bound if target.at_least else value <= target.bound
        rows.append(
            {"what": target.what, "measured": value, "bound": target.bound, "at_least": target.at_least, "met": met}
        )
    return rows


def look_up(figures: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    """The figure at the end of `path`, or None."""
    found: Any = figures
    for name in path:
        if not isinstance(found, dict) or name not in found:
            return None
        found = found[name]
    return found
