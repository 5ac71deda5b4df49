"""Whether a process still lives, in virtual seconds."""

from __future__ import annotations

from avacast.streaming.heartbeat import Heartbeat


def lost_at(heartbeat: Heartbeat, seconds: range) -> list[int]:
    return [second for second in seconds if heartbeat.is_lost(second)]


def test_silence_beyond_the_bound_is_a_hang_until_something_is_heard():
    heartbeat = Heartbeat(8)
    assert lost_at(heartbeat, range(100, 105)) == []
    heartbeat.hear(105)
    assert lost_at(heartbeat, range(105, 120)) == [114, 115, 116, 117, 118, 119]
    heartbeat.hear(120)
    assert lost_at(heartbeat, range(120, 125)) == []


def test_nobody_is_blamed_for_a_time_in_which_we_stood_still():
    """As after Ctrl-Z and `fg`: what the process said is still on its way. If it says nothing after that, it hangs."""
    heartbeat = Heartbeat(8)
    heartbeat.hear(0)
    assert lost_at(heartbeat, range(3)) == []
    assert lost_at(heartbeat, range(3_600, 3_612)) == [3_609, 3_610, 3_611]
