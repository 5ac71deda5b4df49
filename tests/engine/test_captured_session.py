"""Networks as captured calls. On a CPU the same code runs uncaptured; with a GPU it is captured."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from avacast.engine.captured_session import CapturedSession, captured_decoder, captured_step
from avacast.engine.graph_signature import GraphSignature, TensorSpec
from avacast.engine.pipeline import Pipeline
from avacast.engine.plan import PlannedDiT, Plans
from avacast.engine.sample_tail import Samples
from avacast.engine.static_form import StaticShape

CPU = torch.device("cpu")


def captured(pipeline: Pipeline) -> tuple[Pipeline, list[CapturedSession]]:
    """The same model with its transformer and decoder as captured calls, at the windows of its live profile."""
    config, networks = pipeline.config, pipeline.networks
    shape = StaticShape(config, config.profile("mic"), 1, torch.float32)
    with torch.inference_mode():
        step = captured_step(networks.dit, shape)
        decoder = captured_decoder(networks.vae, shape)
    return Pipeline(config, replace(networks, plans=Plans(PlannedDiT(networks.dit, [step]), decoder))), [step]


def frames_of(pipeline: Pipeline, sound: Samples) -> Tensor:
    session = pipeline.open_session(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    session.push(sound)
    session.flush()
    images: list[Any] = []
    while not session.finished:
        images += [frame.image for frame in session.pull()]
    return torch.from_numpy(np.stack(images)).int()


@pytest.mark.parametrize("kind", ["tiny_pipeline", "released_pipeline"])
def test_a_session_shows_the_same_with_captured_networks(kind: str, request: pytest.FixtureRequest):
    """A whole stream through `Pipeline.open_session`, its odd last window and first latent frame included."""
    plain: Pipeline = request.getfixturevalue(kind)
    sound = (0.1 * np.random.default_rng(5).standard_normal(32_000)).astype(np.float32)
    pipeline, (step,) = captured(plain)
    runs: list[int] = []
    run, step._graph._call = step._graph._call, lambda tensors: runs.append(1) or run(tensors)
    assert (frames_of(pipeline, sound) - frames_of(plain, sound)).abs().max() <= 1
    assert len(runs) >= 2 * plain.config.sampler.num_steps, "the windows ran in the graph"


def test_where_the_compiler_fails_the_blocks_run_as_they_are(
    tiny_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """The reason is told in one line."""

    def broken(*_: object, **__: object) -> object:
        raise RuntimeError("no compiler\nhere")

    monkeypatch.setattr(torch, "compile", broken)
    shape = StaticShape(tiny_pipeline.config, tiny_pipeline.config.profile("mic"), 1, torch.float32)
    with torch.inference_mode(), caplog.at_level(logging.WARNING):
        session = captured_step(tiny_pipeline.networks.dit, shape)
        (output,) = session(session.signature.zeros(CPU))
    assert output.shape == shape.latents
    assert caplog.messages == ["the transformer runs uncompiled: no compiler here"]


def test_what_a_call_returned_outlives_the_next():
    """A decoder's past is kept by its session while another session decodes."""
    spec = TensorSpec("x", (2,), torch.float32)
    signature = GraphSignature((spec,), (TensorSpec("y", (2,), torch.float32),))
    kept: list[Tensor] = [torch.empty(2)]

    def call(tensors: Any) -> tuple[Tensor, ...]:
        return (torch.add(tensors["x"], 1, out=kept[0]),)

    session = CapturedSession(call, signature, CPU)
    (first,) = session({"x": torch.zeros(2)})
    (second,) = session({"x": torch.ones(2, dtype=torch.float64)})
    assert (first.tolist(), second.tolist()) == ([1, 1], [2, 2])


def test_an_input_s_name_is_no_output_s():
    """It would be carried over from one session to another."""
    spec = TensorSpec("x", (2,), torch.float32)
    with pytest.raises(AssertionError, match="carried over"):
        CapturedSession(lambda tensors: (tensors["x"],), GraphSignature((spec,), (spec,)), CPU)
