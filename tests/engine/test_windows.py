from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avacast.engine.profile import WindowConfig
from avacast.engine.windows import WindowPlan, frames_of_latents, latents_for_frames, overlap_weights


@st.composite
def plans(draw: st.DrawFn) -> WindowPlan:
    window = draw(st.integers(1, 24))
    overlap = draw(st.integers(0, window - 1))
    return WindowPlan(window, overlap, draw(st.integers(0, overlap)))


@given(plans(), st.integers(1, 200))
def test_windows_cover_every_latent_frame_and_only_the_last_reaches_the_end(plan: WindowPlan, end: int):
    spans = [plan.span(k, end) for k in range(plan.num_windows(end))]
    assert [start for start, _ in spans] == [k * plan.hop for k in range(len(spans))]
    assert all(stop - start == plan.window for start, stop in spans[:-1])
    assert spans[-1][1] == end
    assert [plan.is_last(k, end) for k in range(len(spans))] == [False] * (len(spans) - 1) + [True]


@given(plans(), st.integers(1, 200))
def test_a_last_window_always_reaches_beyond_the_overlap(plan: WindowPlan, end: int):
    last = plan.num_windows(end) - 1
    start, stop = plan.span(last, end)
    assert last == 0 or stop - start > plan.overlap


def test_windows_lie_as_in_the_released_loop(windows_golden: Path):
    golden = json.loads(windows_golden.read_text())
    plan = WindowPlan(golden["window_latents"], golden["overlap"], golden["overlap"])
    end = golden["latent_frames"]
    assert latents_for_frames(golden["total_frames"]) == end
    assert plan.num_windows(end) == golden["windows_per_step"]
    lengths = [stop - start for start, stop in (plan.span(k, end) for k in range(plan.num_windows(end)))]
    assert lengths == golden["window_lengths"]


@given(st.integers(0, 10_000))
def test_latent_frames_are_as_few_as_the_video_frames_need(num_frames: int):
    num_latents = latents_for_frames(num_frames)
    assert frames_of_latents(num_latents) >= num_frames
    assert num_latents == 0 or frames_of_latents(num_latents - 1) < num_frames


@given(st.integers(2, 16), st.sampled_from(["log", "uniform"]))
def test_a_closed_ramp_runs_from_all_previous_to_all_new(overlap: int, weights: str):
    ramp = overlap_weights(WindowConfig(window=20, overlap=overlap, weights=weights, ramp="closed"))
    assert ramp[0] == 0
    assert ramp[-1] == pytest.approx(1)
    assert all(a < b for a, b in pairwise(ramp))


@given(st.integers(1, 16), st.sampled_from(["log", "uniform"]))
def test_an_open_ramp_blends_every_frame(overlap: int, weights: str):
    ramp = overlap_weights(WindowConfig(window=20, overlap=overlap, weights=weights, ramp="open"))
    assert len(ramp) == overlap
    assert all(0 < w < 1 for w in ramp)
    assert all(a < b for a, b in pairwise(ramp))


def test_the_weights_are_those_of_the_paper():
    log = overlap_weights(WindowConfig(window=21, overlap=5, weights="log"))
    assert log == pytest.approx([math.log(1 + j / 4 * (math.e - 1)) for j in range(5)])
    assert overlap_weights(WindowConfig(window=21, overlap=5, weights="uniform")) == (0, 0.25, 0.5, 0.75, 1)
    assert overlap_weights(WindowConfig(window=21, overlap=3, weights="fixed")) == (0.5, 0.5, 0.5)
    assert overlap_weights(WindowConfig(window=9, overlap=3, weights="uniform", ramp="open")) == (0.25, 0.5, 0.75)


def test_a_closed_ramp_of_one_frame_keeps_the_previous_window():
    assert overlap_weights(WindowConfig(window=9, overlap=1, ramp="closed")) == (0.0,)
    assert overlap_weights(WindowConfig(window=9, overlap=0)) == ()
