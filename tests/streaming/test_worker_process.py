"""The engine's loop and its lanes, in this process, on the real tiny model."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from avacast.engine.pipeline import Pipeline
from avacast.streaming.lane import IDLE_AFTER, MAX_AHEAD, MAX_WAITING, Begun, Lane
from avacast.streaming.messages import Audio, Close, Cut, Ended, Event, Frames, Open, Opened
from avacast.streaming.worker_process import EngineLoop

SILENCE = np.zeros(640, np.float32)


@pytest.fixture
def engine(load_tiny: Callable[[], Pipeline]) -> tuple[EngineLoop, list[Event]]:
    """The loop and the events it has posted."""
    events: list[Event] = []

    def post(event: Event) -> bool:
        events.append(event)
        return True

    return EngineLoop(load_tiny(), post), events


def feed(engine: EngineLoop, session: str, num_slices: int) -> None:
    """Sends slices as a viewer would who hears all at once, working in between."""
    for number in range(num_slices):
        engine.handle(Audio(session, number, SILENCE, number))
        while engine.step():
            pass


def frames_of(events: list[Event], session: str) -> list[int]:
    return [n for event in events if isinstance(event, Frames) and event.session == session for n in event.numbers]


def test_every_frame_carries_the_number_of_its_slice(engine: tuple[EngineLoop, list[Event]], picture: np.ndarray):
    loop, events = engine
    loop.handle(Open("a", picture, 0))
    feed(loop, "a", 60)
    numbers = frames_of(events, "a")
    assert events[0] == Opened("a", familiar=True)
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 30


def test_sessions_take_turns(engine: tuple[EngineLoop, list[Event]], picture: np.ndarray):
    """Two sessions with work waiting are advanced one window each, by turns."""
    loop, events = engine
    for session in ("a", "b"):
        loop.handle(Open(session, picture, 0))
        feed(loop, session, 40)
    events.clear()
    for number in range(40, 40 + MAX_WAITING):
        loop.handle(Audio("a", number, SILENCE, number))
        loop.handle(Audio("b", number, SILENCE, number))
    while loop.step():
        pass
    turns = [event.session for event in events if isinstance(event, Frames)]
    assert len(turns) >= 4
    assert all(first != second for first, second in pairwise(turns))


@pytest.fixture
def overlapping(load_tiny: Callable[[], Pipeline]) -> tuple[EngineLoop, list[Event]]:
    """A loop that begins all windows before it waits for any, as on a GPU."""
    events: list[Event] = []

    def post(event: Event) -> bool:
        events.append(event)
        return True

    return EngineLoop(load_tiny(), post, overlaps=True), events


def test_sessions_that_overlap_get_the_frames_that_they_get_in_turn(
    engine: tuple[EngineLoop, list[Event]], overlapping: tuple[EngineLoop, list[Event]], picture: np.ndarray
):
    """Every session, frame by frame; and none is waited for before all that have work have begun."""
    noise = np.random.default_rng(0).standard_normal((50, 640)).astype(np.float32)
    shown: list[dict[str, list[np.ndarray]]] = []
    for loop, events in (engine, overlapping):
        for seed, session in enumerate("abc"):
            loop.handle(Open(session, picture, seed))
        for number in range(50):
            for quieter, session in enumerate("abc", 1):
                loop.handle(Audio(session, number, noise[number] / quieter, number))
            while loop.step():
                pass
        made = [event for event in events if isinstance(event, Frames)]
        assert {event.num_skipped for event in made} == {0}
        shown.append({s: [image for event in made if event.session == s for image in event.images] for s in "abc"})
        assert frames_of(events, "a") == list(range(len(shown[-1]["a"])))
    in_turn, together = shown
    for session in "abc":
        assert np.array_equal(np.stack(in_turn[session]), np.stack(together[session]))


def test_all_sessions_begin_before_one_is_waited_for(
    overlapping: tuple[EngineLoop, list[Event]], picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    loop, events = overlapping
    for session in ("a", "b", "c"):
        loop.handle(Open(session, picture, 0))
        feed(loop, session, 40)
    order: list[str] = []
    begin, images = Lane.begin, Begun.images
    monkeypatch.setattr(Lane, "begin", lambda lane: (order.append("begin"), begin(lane))[1])
    monkeypatch.setattr(Begun, "images", lambda begun: (order.append("wait"), images(begun))[1])
    for number in range(40, 40 + MAX_WAITING):
        for session in ("a", "b", "c"):
            loop.handle(Audio(session, number, SILENCE, number))
    events.clear()
    assert loop.step()
    assert order == ["begin"] * 3 + ["wait"] * 3
    assert sorted(event.session for event in events if isinstance(event, Frames)) == ["a", "b", "c"]


class Fault(Exception):
    """What no session is meant to raise."""


@pytest.mark.parametrize("failing", ["begin", "images"])
def test_a_fault_among_sessions_that_overlap_ends_its_own_session_only(
    overlapping: tuple[EngineLoop, list[Event]], picture: np.ndarray, monkeypatch: pytest.MonkeyPatch, failing: str
):
    """Whether it fails when it begins or when its frames are waited for, those beside it in the step get theirs."""
    loop, events = overlapping
    for session in ("a", "b", "c"):
        loop.handle(Open(session, picture, 0))
        feed(loop, session, 40)
    faulty = loop.lanes["b"]
    begin, images, windows = Lane.begin, Begun.images, list[Begun]()

    def begin_or_fail(lane: Lane) -> Begun | None:
        if lane is faulty and failing == "begin":
            raise Fault
        begun = begin(lane)
        if lane is faulty and begun:
            windows.append(begun)
        return begun

    def images_or_fail(begun: Begun) -> np.ndarray:
        if any(begun is window for window in windows):
            raise Fault
        return images(begun)

    monkeypatch.setattr(Lane, "begin", begin_or_fail)
    monkeypatch.setattr(Begun, "images", images_or_fail)
    for number in range(40, 40 + MAX_WAITING):
        for session in ("a", "b", "c"):
            loop.handle(Audio(session, number, SILENCE, number))
    events.clear()
    assert loop.step()
    assert [(event.session, event.code) for event in events if isinstance(event, Ended)] == [("b", "engine_failed")]
    assert [event.session for event in events if isinstance(event, Frames)] == ["a", "c"]
    assert list(loop.lanes) == ["a", "c"]
    assert loop.step()


def test_a_fault_ends_its_own_session_only(engine: tuple[EngineLoop, list[Event]], picture: np.ndarray):
    """One engine session is closed under the worker's feet: it ends with a reason, the other goes on."""
    loop, events = engine
    for session in ("a", "b"):
        loop.handle(Open(session, picture, 0))
    loop.lanes["a"].close()
    feed(loop, "a", 1)
    feed(loop, "b", 40)
    ended = [event for event in events if isinstance(event, Ended)]
    assert [(event.session, event.code) for event in ended] == [("a", "session_closed")]
    assert list(loop.lanes) == ["b"]
    assert frames_of(events, "b")


def test_a_picture_that_is_none_is_refused_with_a_reason(engine: tuple[EngineLoop, list[Event]]):
    loop, events = engine
    loop.handle(Open("a", np.zeros((4, 4), np.uint8), 0))
    assert isinstance(events[0], Ended)
    assert events[0].code == "bad_portrait"


def test_audio_for_a_session_that_has_ended_is_ignored(engine: tuple[EngineLoop, list[Event]], picture: np.ndarray):
    loop, events = engine
    loop.handle(Open("a", picture, 0))
    loop.handle(Close("a"))
    loop.handle(Audio("a", 0, SILENCE, 0))
    assert not loop.step()
    assert events == [Opened("a", familiar=True)]


def test_under_overload_the_oldest_slices_are_skipped_for_the_engine_only(
    load_tiny: Callable[[], Pipeline], picture: np.ndarray
):
    """Three seconds arrive at once: the lane keeps the newest, and frames still carry their own slice's number."""
    lane = Lane(load_tiny().open_session(picture, interruptible=True), len(SILENCE))
    for number in range(75):
        lane.push(number, SILENCE, 0)
    assert lane.num_skipped == 75 - MAX_WAITING
    for number in range(75, 120):
        lane.push(number, SILENCE, number)
        if made := lane.advance():
            assert made[0][0] == 76 - MAX_WAITING  # pushing slice 75 dropped one more
            assert list(np.diff(made[0])) == [1] * (len(made[0]) - 1)
            return
    pytest.fail("no frames were made")


def test_a_lane_stops_when_its_credit_is_used_up(load_tiny: Callable[[], Pipeline], picture: np.ndarray):
    """A viewer who hears nothing is not computed for without end; hearing gives the credit back."""
    lane = Lane(load_tiny().open_session(picture, interruptible=True), len(SILENCE))
    for number in range(3 * MAX_AHEAD):
        lane.push(number, SILENCE, 0)
        while lane.can_run and lane.advance():
            pass
    assert not lane.can_run
    lane.push(3 * MAX_AHEAD, SILENCE, 2 * MAX_AHEAD)
    assert lane.can_run


def test_the_first_frame_waits_no_longer_than_the_others(load_tiny: Callable[[], Pipeline], picture: np.ndarray):
    """The stream begins with unheard silence, so even frame 0 needs a hop of sound and not a whole window."""
    lane = Lane(load_tiny().open_session(picture, interruptible=True), len(SILENCE))
    waits: list[int] = []
    for number in range(60):
        lane.push(number, SILENCE, number)
        while made := lane.advance():
            waits += [number - frame for frame in made[0]]
    assert max(waits[:8]) <= max(waits[8:])


def test_an_interruption_makes_the_frames_of_what_was_unsaid_anew(
    engine: tuple[EngineLoop, list[Event]], picture: np.ndarray
):
    """From the cut on every slice has a frame of the new epoch, and they show silence, whatever had been entered."""
    loop, events = engine
    noise = np.random.default_rng(0).standard_normal((60, 640)).astype(np.float32)
    for session in ("cut", "other"):
        loop.handle(Open(session, picture, 0))
    for number in range(60):
        sound = noise[number] if number < 26 else noise[number] / 2
        loop.handle(Audio("cut", number, noise[number], 10))
        loop.handle(Audio("other", number, sound, 10))
        while loop.step():
            pass
    last = {session: frames_of(events, session)[-1] for session in ("cut", "other")}
    events.clear()
    for session in ("cut", "other"):
        loop.handle(Cut(session, 1, 20))
        while loop.step():
            pass
    made: dict[str, list[np.ndarray]] = {}
    for session in ("cut", "other"):
        frames = [event for event in events if isinstance(event, Frames) and event.session == session]
        numbers = [number for event in frames for number in event.numbers]
        assert {event.epoch for event in frames} == {1}
        assert 20 - 4 * 6 < numbers[0] <= 20  # it goes back to the end of a window
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert numbers[-1] >= last[session]
        made[session] = [image for event in frames for image in event.images]
    assert np.array_equal(np.stack(made["cut"]), np.stack(made["other"]))


def test_long_silence_costs_fewer_steps_until_somebody_speaks(load_tiny: Callable[[], Pipeline], picture: np.ndarray):
    """The idle profile begins after two seconds of silence and ends with the first slice that is none."""
    pipeline = load_tiny()
    session = pipeline.open_session(picture, interruptible=True)
    talking, idle = session.profile, pipeline.config.idle(session.profile)
    lane = Lane(session, len(SILENCE), idle)
    numbers: list[int] = []
    for number in range(2 * IDLE_AFTER + 40):
        speaks = number == 2 * IDLE_AFTER
        lane.push(number, np.full(640, 0.1, np.float32) if speaks else SILENCE, number)
        while made := lane.advance():
            numbers += made[0]
        assert session.profile == (talking if speaks or number < 20 or number > 2 * IDLE_AFTER else idle) or (
            20 <= number <= IDLE_AFTER
        )
    assert numbers == list(range(len(numbers)))


def test_warming_up_leaves_no_session_behind(engine: tuple[EngineLoop, list[Event]]):
    loop, events = engine
    loop.warm_up()
    assert not loop.lanes
    assert not events
