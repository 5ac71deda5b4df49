"""The incremental loop against the definition: whole time lines, one per step."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from avacast.engine.flow_matching import Schedule, euler_step
from avacast.engine.offline import Velocity, offline_loop
from avacast.engine.profile import WindowConfig
from avacast.engine.ring_buffer import RingBuffer
from avacast.engine.wavefront import step_lags
from avacast.engine.windows import WindowPlan, overlap_weights


@st.composite
def window_configs(draw: st.DrawFn) -> WindowConfig:
    window = draw(st.integers(1, 9))
    overlap = draw(st.integers(0, window - 1))
    return WindowConfig(
        window=window,
        overlap=overlap,
        weights=draw(st.sampled_from(["log", "uniform", "fixed"])),
        ramp=draw(st.sampled_from(["closed", "open"])),
        fuse_first_step=draw(st.booleans()),
        settle=draw(st.none() | st.integers(0, overlap)),
    )


@dataclass
class Stream:
    """A stream of noise through the ring, window by window, the end known only when it is reached."""

    config: WindowConfig
    schedule: Schedule
    lookahead: int
    noise: Tensor
    velocity: Velocity

    def __post_init__(self) -> None:
        self.ring = RingBuffer(self.config, self.schedule.num_steps)
        self.pieces: list[Tensor] = []
        self.largest = 0

    def run(self) -> Tensor:
        end = self.noise.shape[2]
        num_windows = WindowPlan.from_config(self.config).num_windows(end)
        while self.ring.wavefront.num_finished < num_windows:
            front = self.ring.wavefront.front + 1
            known = end if self.ring.plan.span(front)[1] >= end else None
            self.admit(known)
        if (last := self.ring.pop(end)) is not None:
            self.pieces.append(last)
        return torch.cat(self.pieces, dim=2)

    def admit(self, end: int | None) -> None:
        """Begins a window and does all that is due then."""
        self.ring.admit(step_lags(self.schedule.num_steps, self.lookahead, self.config.neighbours))
        while (due := self.ring.due(end)) is not None:
            start, stop = self.ring.plan.span(due.window, end)
            before = self.noise[:, :, start:stop] if due.step == 0 else self.ring.read(due.step - 1, start, stop)
            sigma, sigma_next = self.schedule.sigmas[due.step], self.schedule.sigmas[due.step + 1]
            latents = euler_step(before, self.velocity(before, due.step, start), sigma, sigma_next)
            self.ring.fuse(due, latents)
            latents.fill_(9.0)  # what was handed in is the caller's again
            if (leaving := self.ring.pop(end)) is not None:
                self.pieces.append(leaving.clone())
                leaving.fill_(9.0)
        self.largest = max(self.largest, num_bytes(self.ring))


def num_bytes(ring: RingBuffer) -> int:
    _, state = ring.snapshot()
    return sum(line.latents.untyped_storage().nbytes() for line in state.lines if line is not None)


def noise_of(end: int) -> Tensor:
    return torch.randn(1, 2, end, 1, 1, generator=torch.Generator().manual_seed(end))


def velocity(latents: Tensor, step: int, start: int) -> Tensor:
    """A synthetic network in which every frame of a window hears every other, and the window's place matters."""
    return torch.tanh(latents) - 0.5 * latents.mean(dim=2, keepdim=True) + 0.1 * start + 0.3 * step


def stream(config: WindowConfig, num_steps: int, lookahead: int, end: int) -> Stream:
    return Stream(config, Schedule.create(num_steps, 3.0), lookahead, noise_of(end), velocity)


def one_sided(config: WindowConfig, schedule: Schedule, noise: Tensor) -> Tensor:
    """Look-ahead 0 by its definition: each window to its end, blended at every step into what the last ones left."""
    end = noise.shape[2]
    plan, weights = WindowPlan.from_config(config), overlap_weights(config)
    lines = [torch.zeros_like(noise) for _ in schedule.timesteps]
    sent = torch.zeros_like(noise)
    num_sent = 0
    for index in range(plan.num_windows(end)):
        start, stop = plan.span(index, end)
        window = noise[:, :, start:stop].clone()
        for step, line in enumerate(lines):
            sigma, sigma_next = schedule.sigmas[step], schedule.sigmas[step + 1]
            window = euler_step(window, velocity(window, step, start), sigma, sigma_next)
            if index and (step or config.fuse_first_step):
                for j, w in enumerate(weights):
                    window[:, :, j] = w * window[:, :, j] + (1 - w) * line[:, :, start + j]
            line[:, :, start:stop] = window
        final = end if stop == end else stop - config.held_back
        sent[:, :, num_sent:final] = lines[-1][:, :, num_sent:final]
        num_sent = max(num_sent, final)
    return sent


@given(window_configs(), st.integers(1, 4), st.integers(1, 40))
def test_without_lookahead_every_window_is_fused_with_its_past_at_every_step(
    config: WindowConfig, num_steps: int, end: int
):
    run = stream(config, num_steps, 0, end)
    expected = one_sided(config, run.schedule, run.noise)
    torch.testing.assert_close(run.run(), expected, rtol=1e-5, atol=1e-5)


@given(window_configs(), st.integers(1, 5), st.integers(1, 40))
def test_with_full_lookahead_the_stream_is_the_offline_loop(config: WindowConfig, num_steps: int, end: int):
    """The same floats, whatever windows, overlap, steps and length; where frames leave early, those that do not."""
    run = stream(config, num_steps, num_steps - 1, end)
    streamed = run.run()
    whole = offline_loop(run.noise, run.schedule, config, velocity)
    if config.held_back == config.overlap:
        assert torch.equal(streamed, whole)
    else:
        assert torch.equal(streamed[:, :, -1], whole[:, :, -1])


@given(window_configs(), st.integers(1, 5), st.integers(1, 60), st.data())
def test_every_latent_frame_leaves_once_in_order_in_bounded_memory(
    config: WindowConfig, num_steps: int, end: int, data: st.DataObject
):
    lookahead = data.draw(st.integers(0, num_steps - 1))
    run = stream(config, num_steps, lookahead, end)
    assert run.run().shape[2] == run.ring.num_left == end
    in_flight = config.neighbours * lookahead + 1
    longest = config.window + in_flight * config.hop + config.overlap
    assert run.largest <= num_steps * longest * 2 * 4


@pytest.mark.parametrize("lookahead", [0, 1, 2])
def test_memory_is_the_same_however_long_the_stream(lookahead: int):
    config = WindowConfig(window=6, overlap=4)
    assert stream(config, 3, lookahead, 40).run().shape[2] == 40
    sizes = {end: (run := stream(config, 3, lookahead, end), run.run(), run.largest)[-1] for end in (40, 400)}
    assert sizes[40] == sizes[400]


@given(window_configs(), st.integers(2, 4), st.integers(5, 40), st.data())
def test_what_has_left_is_no_matter_of_what_comes_later(
    config: WindowConfig, num_steps: int, end: int, data: st.DataObject
):
    """Other noise from some frame on changes nothing that left before a window with that frame began."""
    lookahead = data.draw(st.integers(0, num_steps - 1))
    run, other = (stream(config, num_steps, lookahead, end) for _ in range(2))
    run.run()
    cut = data.draw(st.integers(0, end))
    other.noise = torch.cat([other.noise[:, :, :cut], -other.noise[:, :, cut:]], dim=2)
    while (stop := other.ring.plan.span(other.ring.wavefront.front + 1)[1]) <= min(cut, end - 1):
        assert stop < end
        other.admit(None)
    early = torch.cat([other.noise[:, :, :0], *other.pieces], dim=2)
    assert torch.equal(early, torch.cat(run.pieces, dim=2)[:, :, : early.shape[2]])


@pytest.mark.parametrize("lookahead", [0, 1, 2])
def test_a_restored_snapshot_goes_on_as_the_stream_did_any_number_of_times(lookahead: int):
    config = WindowConfig(window=5, overlap=2, ramp="open", fuse_first_step=True)
    run = stream(config, 3, lookahead, 30)
    for _ in range(3):
        run.admit(None)
    state, pieces = run.ring.snapshot(), list(run.pieces)
    first = run.run()
    for _ in range(2):
        run.ring.restore(state)
        run.pieces = list(pieces)
        assert torch.equal(run.run(), first)


def test_settle_zero_sends_a_window_at_once_and_the_next_one_still_continues_it():
    config = WindowConfig(window=4, overlap=2, weights="fixed", fuse_first_step=True, settle=0)
    run = stream(config, 1, 0, 12)
    run.admit(None)
    assert [piece.shape[2] for piece in run.pieces] == [4]
    run.admit(None)
    assert [piece.shape[2] for piece in run.pieces] == [4, 2]


def test_holding_the_overlap_sends_it_only_after_the_next_window_fused_it():
    config = WindowConfig(window=4, overlap=2, weights="fixed", fuse_first_step=True)
    run = stream(config, 1, 0, 12)
    run.admit(None)
    run.admit(None)
    assert [piece.shape[2] for piece in run.pieces] == [2, 2]


@given(st.integers(1, 3), st.sampled_from(["log", "uniform"]), st.integers(0, 8))
def test_the_two_sides_of_a_fusion_weigh_one_together(num_steps: int, weights: str, overlap: int):
    """Fusing a line of ones with a window of ones gives ones."""
    config = WindowConfig(window=9, overlap=overlap, weights=weights)  # type: ignore[arg-type]  # drawn from both
    ones = Stream(config, Schedule.create(num_steps, 3.0), 0, torch.ones(1, 1, 30, 1, 1), lambda x, *_: 0 * x)
    torch.testing.assert_close(ones.run(), torch.ones(1, 1, 30, 1, 1))


def test_the_released_loop_as_a_stream(windows_golden: Path):
    """The golden vectors of the released loop, window by window with full look-ahead."""
    golden = json.loads(windows_golden.read_text())
    tensors = load_file(windows_golden.with_suffix(".safetensors"))
    end, samples_per_latent = golden["latent_frames"], 4 * (golden["sample_rate"] // golden["fps"])

    def synthetic(latents: Tensor, _step: int, start: int) -> Tensor:
        length = latents.shape[2]
        stop = None if start + length == end else samples_per_latent * (start + length)
        loudness = 2 * tensors["audio"][samples_per_latent * start : stop].mean()
        mask = torch.zeros(1, 1, length, 1, 1)
        mask[:, :, 0] = 1
        silent = torch.tanh(latents) - 0.5 * latents.mean(dim=2, keepdim=True) + 0.1 * mask
        return silent + golden["audio_scale"] * loudness + golden["text_scale"] * 0.05

    config = WindowConfig(window=golden["window_latents"], overlap=golden["overlap"], weights=golden["scheme"])
    schedule = Schedule.create(golden["steps"], 5.0)
    streamed = Stream(config, schedule, schedule.num_steps - 1, tensors["init"], synthetic).run()
    assert (streamed - tensors["final"]).norm() / tensors["final"].norm() <= 1e-6


def test_other_windows_go_on_where_the_old_ones_ended():
    """The first new window overlaps the last old one by what both have, and is fused with it at every step."""
    old = WindowConfig(window=6, overlap=4, ramp="open", fuse_first_step=True)
    new = WindowConfig(window=4, overlap=3, ramp="open", fuse_first_step=True, settle=0)
    run = stream(old, 2, 0, 40)
    run.admit(None)
    run.admit(None)
    run.ring.replan(new, (0, 1))
    run.config = new
    assert run.ring.plan.span(0) == (5, 9)
    end = 40
    while run.ring.num_left < end:
        run.admit(end if run.ring.plan.span(run.ring.wavefront.front + 1)[1] >= end else None)
    assert torch.cat(run.pieces, dim=2).shape[2] == end


def test_windows_are_not_changed_while_one_is_in_flight():
    config = WindowConfig(window=4, overlap=2)
    run = stream(config, 2, 1, 20)
    run.admit(None)
    with pytest.raises(AssertionError, match="in flight"):
        run.ring.replan(config, (0, 1))
    run.ring.hurry()
    run.admit(None)


def test_reading_what_is_forgotten_is_a_broken_contract():
    run = stream(WindowConfig(window=4, overlap=2), 1, 0, 20)
    for _ in range(3):
        run.admit(None)
    with pytest.raises(AssertionError, match="of"):
        run.ring.read(0, 0, 4)
