"""The schedule of a stream: who may go when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from avacast.engine.wavefront import Pass, Wavefront, step_lags


def passes(num_windows: int, lags: tuple[int, ...]) -> list[list[Pass]]:
    """All passes of a stream, by the window whose beginning made them due."""
    wave, ticks = Wavefront.start(len(lags)), []
    while wave.num_finished < num_windows:
        wave = wave.admitted(lags)
        tick: list[Pass] = []
        while (due := wave.due(num_windows)) is not None:
            tick.append(due)
            wave = wave.advanced(due)
        ticks.append(tick)
    return ticks


def test_without_lookahead_a_window_takes_all_its_steps_at_once():
    assert passes(2, step_lags(3, 0, 1)) == [[(0, 0), (0, 1), (0, 2)], [(1, 0), (1, 1), (1, 2)]]


def test_with_full_lookahead_each_step_runs_one_window_behind_the_step_before():
    """The staggered wave: three windows in flight, each one step further than the next."""
    assert passes(3, step_lags(3, 2, 1)) == [
        [(0, 0)],
        [(1, 0), (0, 1)],
        [(2, 0), (1, 1), (0, 2)],
        [(2, 1), (1, 2)],
        [(2, 2)],
    ]


def test_lags_are_spread_evenly_and_count_every_neighbour():
    assert step_lags(4, 3, 2) == (0, 2, 4, 6)
    assert step_lags(4, 1, 1) == (0, 0, 0, 1)
    assert step_lags(5, 2, 1) == (0, 0, 1, 1, 2)
    assert step_lags(1, 0, 3) == (0,)


@given(st.integers(1, 5), st.data())
def test_every_pass_once_after_the_step_and_the_window_before_it(num_steps: int, data: st.DataObject):
    lookahead = data.draw(st.integers(0, num_steps - 1))
    neighbours, num_windows = data.draw(st.integers(1, 3)), data.draw(st.integers(0, 9))
    order = [one for tick in passes(num_windows, step_lags(num_steps, lookahead, neighbours)) for one in tick]
    assert sorted(order) == [(window, step) for window in range(num_windows) for step in range(num_steps)]
    place = {one: index for index, one in enumerate(order)}
    for window, step in order:
        assert step == 0 or place[window, step - 1] < place[window, step]  # type: ignore[index]  # a Pass is a tuple
        assert window == 0 or place[window - 1, step] < place[window, step]  # type: ignore[index]


@given(st.integers(1, 5), st.integers(1, 3), st.integers(1, 9))
def test_with_full_lookahead_a_step_follows_its_neighbours_step_before(
    num_steps: int, neighbours: int, num_windows: int
):
    order = [one for tick in passes(num_windows, step_lags(num_steps, num_steps - 1, neighbours)) for one in tick]
    place = {one: index for index, one in enumerate(order)}
    for window, step in order:
        for later in range(window + 1, min(window + neighbours, num_windows - 1) + 1):
            assert step == 0 or place[later, step - 1] < place[window, step]  # type: ignore[index]


def test_smaller_lags_let_the_windows_in_flight_catch_up_in_the_offline_order():
    wave = Wavefront.start(3)
    for _ in range(3):
        wave = wave.admitted(step_lags(3, 2, 1))
        while (due := wave.due()) is not None:
            wave = wave.advanced(due)
    assert list(wave.in_flight) == [1, 2]
    wave = wave.hurried()
    caught_up: list[Pass] = []
    while (due := wave.due()) is not None:
        caught_up.append(due)
        wave = wave.advanced(due)
    assert caught_up == [(2, 1), (1, 2), (2, 2)]
    assert not wave.in_flight
