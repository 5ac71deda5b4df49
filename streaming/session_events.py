"""Who is told what happens in one session: bounded queues of events, one for each listener.

Every event tells all of its kind: a status has the whole state, a caption its whole line. So a listener that missed
some needs only the latest. Knows plain values; knows nothing of sessions or websockets.
"""

from __future__ import annotations

import asyncio
from typing import Any

from avacast.engine.errors import Unavailable

MAX_LISTENERS = 4
MAX_EVENTS_WAITING = 32
"""Events that wait for a slow reader. Policy when full: the oldest is dropped; the next one tells all of it again."""

Event = dict[str, Any]


class SessionEvents:
    """The listeners of one session."""

    def __init__(self) -> None:
        self._listeners: list[asyncio.Queue[Event]] = []

    def subscribe(self, first: Event) -> asyncio.Queue[Event]:
        """A bounded queue of what is told from now on, `first` in it. Raises Unavailable when too many listen."""
        if len(self._listeners) >= MAX_LISTENERS:
            raise Unavailable(f"at most {MAX_LISTENERS} listeners hear one session's events")
        events: asyncio.Queue[Event] = asyncio.Queue(MAX_EVENTS_WAITING)
        events.put_nowait(first)
        self._listeners.append(events)
        return events

    def unsubscribe(self, events: asyncio.Queue[Event]) -> None:
        self._listeners.remove(events)

    def tell(self, event: Event) -> None:
        """Never waits, whoever reads or not."""
        for events in self._listeners:
            if events.full():
                events.get_nowait()
            events.put_nowait(event)
