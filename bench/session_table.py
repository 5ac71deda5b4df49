"""The table of `avacast bench session`: every figure with its target beside it, and how many values become one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from rich.table import Table


def table(measured: dict[str, Any]) -> Table:
    """A line for each figure, its target beside it."""
    from rich.table import Table

    lines = {
        "click to picture": ("click_to_picture_ms", "ms", ""),
        "offer to picture": ("offer_to_picture_ms", "ms", ""),
        "offer to connected": ("offer_to_connected_ms", "ms", "p95 1000"),
        "stale sound after clear": ("stale_audio_ms", "ms", "p95 100"),
        "stale picture after clear": ("stale_video_ms", "ms", "p95 200"),
        "error of playback_finished": ("position_error_ms", "ms", "20"),
        "skew": ("skew_ms", "ms", "95 % in -60..+40, all in -185..+90"),
        "frame difference, speak": ("ratio_speak", "x speech", "1.5"),
        "frame difference, fall silent": ("ratio_fall_silent", "x speech", "1.5"),
        "frame difference, interrupt": ("ratio_interrupt", "x speech", "1.5"),
        "frame difference, begin to idle": ("ratio_begin_to_idle", "x speech", "1.5"),
        "microphone to mouth": ("microphone_to_mouth_ms", "ms", ""),
        "microphone to sound": ("microphone_to_sound_ms", "ms", ""),
        "received": ("fps", "frames/s", "25"),
        "freezes": ("freezes_per_minute", "per min", "0"),
        "longest gap": ("longest_gap_ms", "ms", "200"),
        "concealed sound": ("concealed_percent", "%", ""),
    }
    shown = Table("figure", "p50", "p95", "least", "most", "unit", "target")
    for name, (key, unit, target) in lines.items():
        value = measured.get(key, float("nan"))
        parts = value if isinstance(value, dict) else {"p50": value}
        cells = [f"{parts[part]:.4g}" if part in parts else "" for part in ("p50", "p95", "least", "most")]
        shown.add_row(name, *cells, unit, target)
    return shown


def spread(values: Sequence[float] | NDArray[np.float64]) -> dict[str, float]:
    """Median, 95th percentile, extremes, the middle 95 % and how many; of those that could be told."""
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    if not len(known):
        return {"num": 0}
    names = ("p50", "p95", "least", "most", "p2_5", "p97_5")
    points = np.percentile(known, [50, 95, 0, 100, 2.5, 97.5])
    return {name: round(float(point), 3) for name, point in zip(names, points, strict=True)} | {"num": len(known)}
