"""The time that sender reports tell."""

from __future__ import annotations

import datetime as dt
import types

import pytest
from aiortc import clock

from avacast.streaming.microphone import Microphone
from avacast.streaming.peer import Peer
from avacast.streaming.webrtc_config import DEFAULT


def test_a_wall_clock_that_is_set_parts_no_reports(monkeypatch: pytest.MonkeyPatch):
    """By an hour, while a connection stands: neither reports nor the times of arrival see it."""

    class AnHourAhead(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:
            return dt.datetime.now(tz) + dt.timedelta(hours=1)

    Peer(DEFAULT, None, None, Microphone().push)
    before_ms, before_ntp = clock.current_ms(), clock.current_ntp_time()
    assert abs(clock.datetime_from_ntp(before_ntp).timestamp() - dt.datetime.now(dt.UTC).timestamp()) < 60
    monkeypatch.setattr(clock, "datetime", types.SimpleNamespace(**{**vars(dt), "datetime": AnHourAhead}))
    assert 0 <= clock.current_ms() - before_ms < 1_000
    assert 0 <= (clock.current_ntp_time() - before_ntp) >> 32 < 2
