"""Many sessions, one batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from avacast.engine.batch import step
from avacast.engine.errors import SessionClosed
from avacast.engine.frame import Frame, Showing
from avacast.engine.guidance import Conditioning
from avacast.engine.networks import Networks
from avacast.engine.pipeline import Pipeline
from avacast.engine.profile import ProfileName
from avacast.engine.sample_tail import Samples
from avacast.engine.session import Session

RNG = np.random.default_rng(5)
PICTURES = [RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(3)]


def opened(pipeline: Pipeline, sound: Samples, profiles: list[ProfileName]) -> list[Session]:
    """Sessions of different pictures, seeds, sounds and lengths."""
    sessions: list[Session] = []
    for index, profile in enumerate(profiles):
        session = pipeline.open_session(PICTURES[index], seed=index, profile=profile)
        session.push(sound[3_000 * index :])
        session.flush()
        sessions.append(session)
    return sessions


def images(frames: list[np.ndarray]) -> np.ndarray:
    return np.stack(frames).astype(np.int16)


@pytest.mark.parametrize("profiles", [["mic"] * 3, ["mic", "offline", "tts"]], ids=str)
def test_each_session_gets_what_it_would_get_alone(
    tiny_pipeline: Pipeline, noise_3s: Samples, profiles: list[ProfileName], monkeypatch: pytest.MonkeyPatch
):
    alone: list[list[np.ndarray]] = []
    for session in opened(tiny_pipeline, noise_3s, profiles):
        alone.append([])
        while not session.finished:
            alone[-1] += [frame.image for frame in session.pull()]
    sizes: list[int] = []
    velocity = Networks.velocity

    def counted(networks: Networks, latents: torch.Tensor, *rest: object) -> torch.Tensor:
        sizes.append(len(latents))
        return velocity(networks, latents, *rest)

    monkeypatch.setattr(Networks, "velocity", counted)
    sessions = opened(tiny_pipeline, noise_3s, profiles)
    together: list[list[np.ndarray]] = [[], [], []]
    while not all(session.finished for session in sessions):
        for shown, frames in zip(together, step(sessions), strict=True):
            shown += [frame.image for frame in frames]
    assert max(sizes) == 3
    for one, other in zip(alone, together, strict=True):
        assert np.abs(images(one) - images(other)).max() <= 1


def test_latents_of_a_batch_are_those_of_each_alone_to_1e_5(tiny_pipeline: Pipeline, noise_3s: Samples):
    alone, together = (opened(tiny_pipeline, noise_3s, ["mic"] * 3) for _ in range(2))
    for _ in range(5):
        step(together)
        for session in alone:
            step([session])
    for one, other in zip(alone, together, strict=True):
        (_, ours), (_, theirs) = one.snapshot().latents.ring, other.snapshot().latents.ring
        for line, same in zip(ours.lines, theirs.lines, strict=True):
            assert line is not None
            assert same is not None
            torch.testing.assert_close(line.latents, same.latents, rtol=1e-5, atol=1e-5)


def test_a_session_without_sound_holds_nobody_up(tiny_pipeline: Pipeline, noise_3s: Samples):
    waiting, busy = tiny_pipeline.open_session(PICTURES[0]), tiny_pipeline.open_session(PICTURES[1])
    busy.push(noise_3s)
    frames = [step([waiting, busy]) for _ in range(2)]
    assert [len(first) for first, _ in frames] == [0, 0]
    assert frames[1][1]


class Faults:
    """What was told of each session."""

    def __init__(self) -> None:
        self.told: list[tuple[Session, Exception]] = []

    def __call__(self, session: Session, error: Exception) -> None:
        self.told.append((session, error))


def closed(session: Session) -> None:
    session.close()


def without_decoder(session: Session) -> None:
    """It fails when it begins to show."""
    del session._decoder


def with_odd_conditions(session: Session) -> None:
    """Its pass cannot be run, neither with others nor alone."""
    due = session.due()
    assert due is not None
    given = due.conditions
    session._latents._conditions[due.number.window] = replace(given, audio=given.audio[..., :-1])


@pytest.mark.parametrize("broken", [closed, without_decoder, with_odd_conditions])
def test_the_fault_of_a_session_is_told_and_is_none_of_the_others(
    tiny_pipeline: Pipeline, noise_3s: Samples, broken: Callable[[Session], None]
):
    """The others show what they show without it, whichever part of the step fails."""
    before, failing, after = opened(tiny_pipeline, noise_3s, ["mic"] * 3)
    broken(failing)
    faults, shown, alone = Faults(), list[np.ndarray](), list[np.ndarray]()
    for _ in range(4):
        first, none, last = step([before, failing, after], faults)
        assert none == []
        shown += [frame.image for frame in (*first, *last)]
    calm_before, _, calm_after = opened(tiny_pipeline, noise_3s, ["mic"] * 3)
    for _ in range(4):
        first, last = step([calm_before, calm_after])
        alone += [frame.image for frame in (*first, *last)]
    assert {session for session, _ in faults.told} == {failing}
    assert np.abs(images(shown) - images(alone)).max() <= 1


def test_without_anybody_to_tell_a_fault_is_raised(tiny_pipeline: Pipeline, noise_3s: Samples):
    sessions = opened(tiny_pipeline, noise_3s, ["mic"] * 2)
    sessions[0].close()
    with pytest.raises(SessionClosed):
        step(sessions)


def test_all_begin_to_show_before_any_is_waited_for(
    tiny_pipeline: Pipeline, noise_3s: Samples, monkeypatch: pytest.MonkeyPatch
):
    """So that one's pictures are made while another's come to the host."""
    order: list[str] = []
    begin, frames = Session.begin_show, Showing.frames

    def begin_show(session: Session) -> Showing:
        order.append("begin")
        return begin(session)

    def wait(showing: Showing) -> list[Frame]:
        order.append("wait")
        return frames(showing)

    monkeypatch.setattr(Session, "begin_show", begin_show)
    monkeypatch.setattr(Showing, "frames", wait)
    step(opened(tiny_pipeline, noise_3s, ["mic"] * 3))
    assert order == ["begin"] * 3 + ["wait"] * 3


def test_texts_and_pictures_are_joined_once_for_each_company(
    released_pipeline: Pipeline, noise_3s: Samples, monkeypatch: pytest.MonkeyPatch
):
    """Pass after pass of the same sessions reads the very same tensors, and one alone reads its own."""
    read: list[tuple[int | None, ...]] = []
    velocity = Networks.velocity

    def noted(
        networks: Networks, latents: torch.Tensor, sigma: torch.Tensor, timestep: torch.Tensor, given: Conditioning
    ) -> torch.Tensor:
        read.append((id(given.text), id(given.image)))
        return velocity(networks, latents, sigma, timestep, given)

    monkeypatch.setattr(Networks, "velocity", noted)
    sessions = opened(released_pipeline, noise_3s, ["mic"] * 2)
    for _ in range(3):
        step(sessions)
    assert len(read) == 3
    assert len(set(read)) == 1
    step(sessions[:1])
    assert released_pipeline.networks.text is not None
    assert read[-1][0] == id(released_pipeline.networks.text.positive)


def test_nothing_to_do_is_no_error(tiny_pipeline: Pipeline):
    assert step([]) == []
    assert step([tiny_pipeline.open_session(PICTURES[0])]) == [[]]


def test_sessions_of_two_pipelines_are_a_broken_contract(tiny_pipeline: Pipeline, noise_3s: Samples):
    other = Pipeline.with_random_weights(tiny_pipeline.config, seed=1, dtype=torch.float32)
    sessions = [tiny_pipeline.open_session(PICTURES[0]), other.open_session(PICTURES[0])]
    for session in sessions:
        session.push(noise_3s)
    with pytest.raises(AssertionError, match="one pipeline"):
        step(sessions)
