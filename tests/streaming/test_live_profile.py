from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from avacast.engine.pipeline import Pipeline
from avacast.streaming import live_profile
from avacast.streaming.live_profile import chosen_profile, real_time_factor


def test_the_cost_of_a_profile_is_measured(load_tiny: Callable[[], Pipeline]):
    assert real_time_factor(load_tiny(), "mic") > 0


@pytest.mark.parametrize(("limit", "profile"), [(1e9, "mic"), (0.0, "tts")])
def test_a_machine_that_does_not_keep_up_gets_larger_windows(
    load_tiny: Callable[[], Pipeline],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    limit: float,
    profile: str,
):
    """And the log says which and why."""
    monkeypatch.setattr(live_profile, "MAX_FACTOR", limit)
    with caplog.at_level(logging.INFO):
        assert chosen_profile(load_tiny()) == profile
    assert f"profile {profile}: small windows need" in caplog.text
