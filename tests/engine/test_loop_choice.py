"""All steps of a window in one call, taken where it is faster. On a CPU the same code runs uncaptured."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from avacast.engine import loop_choice
from avacast.engine.loop_choice import PASSES, choose_loop, example, in_passes, live_windows
from avacast.engine.pipeline import Pipeline
from avacast.engine.presets import STABLEAVATAR_1_3B
from avacast.engine.profile import Profile, Profiles, WindowConfig


@pytest.mark.parametrize("kind", ["tiny_pipeline", "released_pipeline"])
def test_every_live_window_is_timed_and_what_is_faster_is_taken(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
):
    """The choice says how long both took; the loop that was taken makes what the passes make."""
    pipeline: Pipeline = request.getfixturevalue(kind)
    config, networks = pipeline.config, pipeline.networks
    monkeypatch.setattr(loop_choice, "both_ms", lambda loop, passes: (loop(), passes()) and (1.0, 2.0))
    with torch.inference_mode():
        loop, choices = choose_loop(config, networks)
        assert loop is not None
        for profile in live_windows(config):
            window = example(config, networks, profile)
            assert loop.fits(window)
            assert torch.equal(loop(window), in_passes(networks, window))
    assert [choice.reason for choice in choices] == [f"1.0 ms against 2.0 ms in {PASSES}"] * len(choices)


def test_what_is_slower_is_left(tiny_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loop_choice, "both_ms", lambda _loop, _passes: (2.0, 1.0))
    with torch.inference_mode():
        loop, choices = choose_loop(tiny_pipeline.config, tiny_pipeline.networks)
    assert loop is None
    assert {choice.runs_in for choice in choices} == {PASSES}


def test_what_cannot_be_captured_is_left_with_its_reason(tiny_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object, **__: object) -> object:
        raise RuntimeError("out of\nmemory")

    monkeypatch.setattr(loop_choice, "captured_loop", broken)
    loop, choices = choose_loop(tiny_pipeline.config, tiny_pipeline.networks)
    assert loop is None
    assert {choice.reason for choice in choices} == {"it cannot be captured (out of memory)"}


def test_windows_that_always_look_ahead_never_stand_alone(tiny_pipeline: Pipeline):
    """Live windows, and those that only look ahead where they can; of both the idle ones in fewer steps."""
    window = WindowConfig(window=5, overlap=2)
    waiting = replace(tiny_pipeline.config, profiles=Profiles(mic=Profile(window), tts=Profile(window, lookahead=1)))
    assert list(live_windows(waiting)) == [Profile(window), waiting.idle(Profile(window))]
    kinds = [(one.window.window, one.sampler and one.sampler.num_steps) for one in live_windows(STABLEAVATAR_1_3B)]
    assert kinds == [(5, 4), (5, 2), (9, 4), (9, 2)]
