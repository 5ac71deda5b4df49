"""Which networks are captured for a live session. On a CPU the same code runs uncaptured."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch

from avacast.engine import plan_choice
from avacast.engine.pipeline import Pipeline
from avacast.engine.plan_choice import DECODER, SPEECH_ENCODER, TRANSFORMER, _Admission
from avacast.engine.plan_contest import Contest
from avacast.engine.plan_timing import Choice
from avacast.engine.profile import ProfileName
from avacast.engine.static_form import StaticShape


def admitted(pipeline: Pipeline) -> tuple[Choice, ...]:
    """What is said of every capture, whether it is taken or not."""
    contest = Contest(torch.device("cpu"))
    with torch.inference_mode():
        _Admission(pipeline.config, pipeline.networks, contest).admit_captures()
    return tuple(contest.choices)


@pytest.mark.parametrize("kind", ["tiny_pipeline", "released_pipeline"])
def test_every_network_of_a_live_session_is_tried_as_a_capture(kind: str, request: pytest.FixtureRequest):
    """Transformer, decoder, and the speech encoder at every length of sound that a profile has it hear."""
    pipeline: Pipeline = request.getfixturevalue(kind)
    config = pipeline.config
    lengths = {
        StaticShape(config, config.profile(name), 1, torch.float32).num_samples for name in get_args(ProfileName)
    }
    choices = admitted(pipeline)
    assert not [choice for choice in choices if "captured" in choice.reason]
    told = [choice.network for choice in choices]
    assert sorted(name for name in told if name.startswith(SPEECH_ENCODER)) == sorted(
        f"{SPEECH_ENCODER}, {length} samples" for length in lengths
    )
    assert {name.split(",")[0] for name in told} == {TRANSFORMER, DECODER, SPEECH_ENCODER}


def test_a_speech_encoder_that_cannot_be_captured_is_left_with_its_reason(
    tiny_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
):
    """The other networks are tried all the same."""

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(plan_choice, "captured_speech_encoder", broken)
    choices = admitted(tiny_pipeline)
    refused = [choice for choice in choices if choice.network.startswith(SPEECH_ENCODER)]
    assert refused
    assert {choice.reason for choice in refused} == {
        "it cannot be captured (operation not permitted when stream is capturing)"
    }
    assert {TRANSFORMER, DECODER} <= {choice.network.split(",")[0] for choice in choices}
