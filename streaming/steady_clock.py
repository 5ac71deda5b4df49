"""The time that sender reports tell: that of the wall clock once, and from then on what has passed since.

aiortc 1.16 reads the wall clock anew for every report. A browser holds sound and picture together by these times, so a
correction of the clock between the report of one and that of the other would part them.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from aiortc import clock

from avacast.streaming.seam import read_seam, replace_seam

_NOW = "current_datetime"


class SteadyClock:
    """A function of no arguments that gives the time in UTC, and is never set."""

    def __init__(self) -> None:
        self._begin = datetime.now(UTC) - timedelta(seconds=time.monotonic())

    def __call__(self) -> datetime:
        return self._begin + timedelta(seconds=time.monotonic())


def install() -> None:
    """Makes all of aiortc read such a clock. A second time it does nothing."""
    if not isinstance(read_seam(clock, _NOW), SteadyClock):
        replace_seam(clock, _NOW, SteadyClock())
