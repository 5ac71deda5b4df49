"""Networks as captured calls. On a CPU the same code runs uncaptured; with a GPU it is captured."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from avacast.engine import fused_block
from avacast.engine.captured_session import (
    CapturedLoop,
    CapturedSession,
    captured_decoder,
    captured_loop,
    captured_speech_encoder,
    captured_step,
)
from avacast.engine.graph_signature import GraphSignature, TensorSpec
from avacast.engine.pipeline import Pipeline
from avacast.engine.plan import PlannedDiT, PlannedSpeechEncoder, Plans
from avacast.engine.profile import Profile, SamplerConfig, WindowConfig
from avacast.engine.sample_tail import Samples
from avacast.engine.session import Session, SessionState
from avacast.engine.static_form import StaticShape
from avacast.engine.whole_window import WholeWindow

CPU = torch.device("cpu")
PICTURE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
LIVE = Profile(WindowConfig(window=3, overlap=2, ramp="open", fuse_first_step=True, settle=0))
PROFILES = (
    LIVE,
    replace(LIVE, sampler=SamplerConfig(num_steps=1)),
    Profile(WindowConfig(window=4, overlap=2), lookahead=1, patience="take"),
    Profile(WindowConfig(window=5, overlap=3, settle=1)),
)
"""Windows of every kind: live, idle in fewer steps, looking ahead where it can, and holding a frame back."""


def captured(pipeline: Pipeline) -> tuple[Pipeline, list[CapturedSession]]:
    """The same model with its transformer and decoder as captured calls, at the windows of its live profile."""
    config, networks = pipeline.config, pipeline.networks
    shape = StaticShape(config, config.profile("mic"), 1, torch.float32)
    with torch.inference_mode():
        step = captured_step(networks.dit, shape)
        decoder = captured_decoder(networks.vae, shape)
    return Pipeline(config, replace(networks, plans=Plans(PlannedDiT(networks.dit, [step]), decoder))), [step]


def frames_of(pipeline: Pipeline, sound: Samples) -> Tensor:
    session = pipeline.open_session(PICTURE)
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


@pytest.mark.parametrize("kind", ["tiny_pipeline", "released_pipeline"])
def test_a_session_hears_the_same_with_a_captured_speech_encoder(kind: str, request: pytest.FixtureRequest):
    """Once a stream runs every run of the encoder is of one length, and is made in the graph; the first ones are not.

    So in both alignments, the picture the same to the last bit; on a CPU the graph is the very call.
    """
    plain: Pipeline = request.getfixturevalue(kind)
    config, networks = plain.config, plain.networks
    with torch.inference_mode():
        session = captured_speech_encoder(
            networks.speech_encoder, StaticShape(config, config.profile("mic"), 1, torch.float32)
        )
    runs: list[int] = []
    run, session._graph._call = session._graph._call, lambda tensors: runs.append(1) or run(tensors)
    plans = Plans(speech_encoder=PlannedSpeechEncoder(networks.speech_encoder, [session]))
    sound = (0.1 * np.random.default_rng(5).standard_normal(48_000)).astype(np.float32)
    assert torch.equal(frames_of(Pipeline(config, replace(networks, plans=plans)), sound), frames_of(plain, sound))
    assert len(runs) >= 4


class CountedLoop:
    """A loop that knows how many windows it made."""

    def __init__(self, loop: CapturedLoop) -> None:
        self._loop = loop
        self.num_windows = 0

    def fits(self, window: WholeWindow) -> bool:
        return self._loop.fits(window)

    def __call__(self, window: WholeWindow) -> Tensor:
        self.num_windows += 1
        return self._loop(window)


@pytest.fixture(scope="module", params=["tiny_pipeline", "released_pipeline"])
def pipelines(request: pytest.FixtureRequest) -> tuple[Pipeline, Pipeline, CountedLoop]:
    """A model as it is, and the same with whole windows as captured calls, for every profile of the tests."""
    plain: Pipeline = request.getfixturevalue(request.param)
    config, networks = plain.config, plain.networks
    with torch.inference_mode():
        sessions = [
            captured_loop(
                networks.dit,
                StaticShape(config, profile, 1, torch.float32),
                (profile.sampler or config.sampler).num_steps,
            )
            for profile in PROFILES
        ]
    loop = CountedLoop(CapturedLoop(networks.dit, sessions))
    return plain, Pipeline(config, replace(networks, plans=Plans(loop=loop))), loop


class Script:
    """A session that is told what to do, and all that it showed."""

    def __init__(self, pipeline: Pipeline, sound: Samples) -> None:
        self.session: Session = pipeline.open_session(PICTURE, profile=LIVE, interruptible=True)
        self.shown: list[tuple[int, Any]] = []
        self._sound, self._place = sound, 0
        self._state: SessionState = self.session.snapshot()

    def do(self, what: str, number: int) -> None:
        session = self.session
        if what == "push":
            session.push(self._sound[self._place : self._place + number])
            self._place += number
        elif what == "pull":
            self.shown += [(frame.pts, frame.image) for frame in session.pull()]
        elif what == "interrupt":
            self.shown.append((session.interrupt(number), None))
        elif what == "change":
            session.change_profile(PROFILES[number])
        elif what == "snapshot":
            self._state = session.snapshot()
        else:
            session.restore(self._state)


ACTIONS = st.one_of(
    st.tuples(st.just("push"), st.integers(0, 9_000)),
    st.tuples(st.just("pull"), st.just(0)),
    st.tuples(st.just("interrupt"), st.integers(0, 40)),
    st.tuples(st.just("change"), st.integers(0, len(PROFILES) - 1)),
    st.tuples(st.sampled_from(["snapshot", "restore"]), st.just(0)),
)


@given(actions=st.lists(ACTIONS, max_size=12))
@settings(max_examples=6)
def test_whole_windows_change_nothing_to_the_bit(
    pipelines: tuple[Pipeline, Pipeline, CountedLoop], noise_3s: Samples, actions: list[tuple[str, int]]
):
    """Whatever a session is told: sound in any pieces, interruptions, other profiles, back to a snapshot and on."""
    plain, whole, _ = pipelines
    scripts = [Script(pipeline, noise_3s) for pipeline in (plain, whole)]
    with torch.inference_mode():
        for what, number in (("push", 12_000), ("pull", 0), *actions, ("push", 5_000), ("pull", 0), ("pull", 0)):
            for script in scripts:
                script.do(what, number)
    one, other = scripts
    assert [pts for pts, _ in one.shown] == [pts for pts, _ in other.shown]
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(one.shown, other.shown, strict=True))
    (config, ours), (_, theirs) = (script.session.snapshot().latents.ring for script in scripts)
    assert config == other.session.snapshot().latents.ring[0]
    assert ours.wavefront == theirs.wavefront
    for line, same in zip(ours.lines, theirs.lines, strict=True):
        assert (line is None) == (same is None)
        assert line is None or same is None or (line.start == same.start and torch.equal(line.latents, same.latents))


def test_whole_windows_are_what_a_live_stream_is_made_of(
    pipelines: tuple[Pipeline, Pipeline, CountedLoop], noise_3s: Samples
):
    """Every window but a short last one is one call, the first included; and no frame waits for another window."""
    plain, whole, loop = pipelines
    before, shown = loop.num_windows, []
    for pipeline in (plain, whole):
        script = Script(pipeline, noise_3s)
        script.do("push", 30_000)
        for _ in range(12):
            script.do("pull", 0)
        shown.append(script.shown)
    num_latents = shown[0][-1][0] // 4 + 1
    assert loop.num_windows - before == num_latents - LIVE.window.overlap
    assert len(shown[0]) == len(shown[1]) > 20


def test_passes_and_whole_windows_share_what_they_read_of_a_picture(released_pipeline: Pipeline, noise_3s: Samples):
    """Keys and values of text and picture are made once for both."""
    config, dit = released_pipeline.config, released_pipeline.networks.dit
    with torch.inference_mode():
        session = captured_loop(dit, StaticShape(config, LIVE, 1, torch.float32), config.sampler.num_steps)
    planned = PlannedDiT(dit, [])
    plans = Plans(planned, loop=CapturedLoop(dit, [session], planned.still))
    whole = Pipeline(config, replace(released_pipeline.networks, plans=plans))
    script = Script(whole, noise_3s)
    script.do("push", 9_000)
    script.do("pull", 0)
    assert len(planned.still) == 2
    script.do("change", 3)
    script.do("push", 20_000)
    for _ in range(9):
        script.do("pull", 0)
    assert len(planned.still) == 2


def test_a_window_that_looks_ahead_is_not_run_alone(
    pipelines: tuple[Pipeline, Pipeline, CountedLoop], noise_3s: Samples
):
    """All sound is here, so every window waits for its neighbour: passes run one by one."""
    plain, whole, loop = pipelines
    before = loop.num_windows
    images: list[Any] = []
    for pipeline in (plain, whole):
        session = pipeline.open_session(PICTURE, profile=replace(PROFILES[2], patience="wait"))
        session.push(noise_3s)
        images.append(np.stack([frame.image for frame in session.pull()]))
    assert loop.num_windows == before
    assert np.array_equal(*images)


def test_where_the_compiler_fails_the_blocks_run_as_they_are(
    tiny_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """The reason is told in one line."""

    def broken(*_: object, **__: object) -> object:
        raise RuntimeError("no compiler\nhere")

    monkeypatch.setattr(fused_block, "_compiles", lambda _: True)
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
