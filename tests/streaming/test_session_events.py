"""Who is told what happens in one session."""

from __future__ import annotations

import pytest

from avacast.engine.errors import Unavailable
from avacast.streaming.session_events import MAX_EVENTS_WAITING, MAX_LISTENERS, SessionEvents


def test_every_listener_hears_the_first_event_and_what_comes_after():
    events = SessionEvents()
    queues = [events.subscribe({"number": 0}) for _ in range(2)]
    events.tell({"number": 1})
    assert [[queue.get_nowait()["number"] for _ in range(queue.qsize())] for queue in queues] == [[0, 1], [0, 1]]


def test_a_slow_listener_loses_the_oldest():
    events = SessionEvents()
    queue = events.subscribe({"number": 0})
    for number in range(1, MAX_EVENTS_WAITING + 3):
        events.tell({"number": number})
    assert queue.qsize() == MAX_EVENTS_WAITING
    assert queue.get_nowait() == {"number": 3}


def test_listeners_are_bounded_and_a_place_is_free_again():
    events = SessionEvents()
    queues = [events.subscribe({}) for _ in range(MAX_LISTENERS)]
    with pytest.raises(Unavailable, match="at most"):
        events.subscribe({})
    events.unsubscribe(queues[0])
    events.subscribe({})
