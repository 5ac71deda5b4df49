from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from avacast.engine.config import WindowConfig
from avacast.engine.flow_matching import Schedule, euler_step
from avacast.engine.offline import offline_loop
from avacast.engine.ring_buffer import RingBuffer
from avacast.engine.windows import overlap_weights


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


def denoised(index: int, step: int, num_frames: int) -> Tensor:
    """What a network might have made of window `index` at `step`: arbitrary, but always the same."""
    generator = torch.Generator().manual_seed(1000 * index + step)
    return torch.randn(1, 2, num_frames, 1, 1, generator=generator)


def run_stream(config: WindowConfig, num_steps: int, end: int) -> tuple[RingBuffer, list[Tensor]]:
    """Pieces of latents as they leave, for a stream of `end` latent frames; windows are cut as the plan says."""
    ring = RingBuffer(config, num_steps)
    pieces: list[Tensor] = []
    for index in range(ring.plan.num_windows(end)):
        start, stop = ring.plan.span(index, end)
        for step in range(num_steps):
            ring.fuse(step, denoised(index, step, stop - start))
        pieces.append(ring.pop())
    return ring, [*pieces, ring.drain()]


def expected_stream(config: WindowConfig, num_steps: int, end: int) -> Tensor:
    """The same by the definition: whole time lines per step, each window blended into what the last one left."""
    ring = RingBuffer(config, num_steps)
    weights = overlap_weights(config)
    lines = [torch.zeros(1, 2, end, 1, 1, dtype=torch.float64) for _ in range(num_steps)]
    sent = torch.zeros(1, 2, end, 1, 1, dtype=torch.float64)
    num_sent = 0
    for index in range(ring.plan.num_windows(end)):
        start, stop = ring.plan.span(index, end)
        for step, line in enumerate(lines):
            new = denoised(index, step, stop - start).double()
            if index and (step or config.fuse_first_step):
                for j, w in enumerate(weights):
                    new[:, :, j] = w * new[:, :, j] + (1 - w) * line[:, :, start + j]
            line[:, :, start:stop] = new
        final = end if stop == end else stop - config.held_back
        sent[:, :, num_sent:final] = lines[-1][:, :, num_sent:final]
        num_sent = final
    return sent


@given(window_configs(), st.integers(1, 3), st.integers(1, 40))
def test_every_latent_frame_leaves_once_in_order_fused_with_the_past_at_every_step(
    config: WindowConfig, num_steps: int, end: int
):
    ring, pieces = run_stream(config, num_steps, end)
    sent = torch.cat(pieces, dim=2)
    assert sent.shape[2] == ring.num_left == ring.num_covered == end
    torch.testing.assert_close(sent.double(), expected_stream(config, num_steps, end), rtol=1e-5, atol=1e-5)


@given(window_configs(), st.integers(1, 40))
def test_with_one_step_the_stream_equals_the_offline_loop(config: WindowConfig, end: int):
    noise = torch.randn(1, 2, end, 1, 1, generator=torch.Generator().manual_seed(end))
    schedule = Schedule.create(1, 3.0)

    def velocity(latents: Tensor, step: int, start: int) -> Tensor:
        return torch.tanh(latents) + latents.mean(dim=2, keepdim=True) + start + step

    ring = RingBuffer(config, 1)
    pieces: list[Tensor] = []
    for index in range(ring.plan.num_windows(end)):
        start, stop = ring.plan.span(index, end)
        window = noise[:, :, start:stop]
        ring.fuse(0, euler_step(window, velocity(window, 0, start), schedule.sigmas[0], schedule.sigmas[1]))
        pieces.append(ring.pop())
    stream = torch.cat([*pieces, ring.drain()], dim=2)
    whole = offline_loop(noise, schedule, config, velocity)
    if config.held_back == config.overlap:
        assert torch.equal(stream, whole)
    else:  # what left early is as its own window made it; the last window's own frames agree
        assert torch.equal(stream[:, :, -1], whole[:, :, -1])


@pytest.mark.parametrize("settle", [None, 0, 1])
def test_what_has_left_never_changes(settle: int | None):
    """Not through a later window, and not when the caller writes over what it handed in or was given."""
    config = WindowConfig(window=5, overlap=3, ramp="open", fuse_first_step=True, settle=settle)
    untouched = torch.cat(run_stream(config, 2, 21)[1], dim=2)
    ring = RingBuffer(config, 2)
    copies: list[Tensor] = []
    for index in range(ring.plan.num_windows(21)):
        start, stop = ring.plan.span(index, 21)
        for step in range(2):
            latents = denoised(index, step, stop - start)
            ring.fuse(step, latents)
            latents.fill_(9.0) if step == 0 else None
        leaving = ring.pop()
        copies.append(leaving.clone())
        leaving.fill_(9.0)
    copies.append(ring.drain())
    assert torch.equal(torch.cat(copies, dim=2), untouched)


def test_settle_zero_sends_a_window_at_once_and_the_next_one_still_continues_it():
    config = WindowConfig(window=4, overlap=2, weights="fixed", fuse_first_step=True, settle=0)
    ring = RingBuffer(config, 1)
    first, second = denoised(0, 0, 4), denoised(1, 0, 4)
    ring.fuse(0, first)
    assert torch.equal(ring.pop(), first)
    fused = ring.fuse(0, second)
    torch.testing.assert_close(fused[:, :, :2], 0.5 * second[:, :, :2] + 0.5 * first[:, :, 2:])
    assert torch.equal(ring.pop(), second[:, :, 2:])


def test_holding_the_overlap_sends_it_only_after_the_next_window_fused_it():
    config = WindowConfig(window=4, overlap=2, weights="fixed", fuse_first_step=True)
    ring = RingBuffer(config, 1)
    ring.fuse(0, denoised(0, 0, 4))
    assert ring.pop().shape[2] == 2
    fused = ring.fuse(0, denoised(1, 0, 4))
    assert torch.equal(ring.pop(), fused[:, :, :2])


def test_the_released_first_step_is_not_fused():
    config = WindowConfig(window=4, overlap=2, weights="fixed")
    ring = RingBuffer(config, 2)
    for step in range(2):
        ring.fuse(step, denoised(0, step, 4))
    ring.pop()
    assert torch.equal(ring.fuse(0, denoised(1, 0, 4)), denoised(1, 0, 4))
    assert not torch.equal(ring.fuse(1, denoised(1, 1, 4)), denoised(1, 1, 4))


def test_memory_is_one_tail_per_step_however_long_the_stream():
    config = WindowConfig(window=6, overlap=4)
    for end in (20, 200):
        ring, _ = run_stream(config, 3, end)
        state = ring.snapshot()
        tails = [tail for tail in state.tails if tail is not None]
        assert len(tails) == 3
        assert state.final is None
        assert all(tail.untyped_storage().nbytes() == 1 * 2 * 4 * 4 for tail in tails)  # B x C x O float32


def test_a_restored_snapshot_goes_on_as_the_stream_did_any_number_of_times():
    config = WindowConfig(window=5, overlap=2, ramp="open", fuse_first_step=True)
    ring = RingBuffer(config, 2)

    def window(index: int) -> Tensor:
        for step in range(2):
            ring.fuse(step, denoised(index, step, 5))
        return ring.pop()

    window(0)
    state = ring.snapshot()
    first = window(1), window(2)
    for _ in range(2):
        ring.restore(state)
        again = window(1), window(2)
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_pop_before_the_last_step_is_a_broken_contract():
    ring = RingBuffer(WindowConfig(window=4, overlap=2), 2)
    ring.fuse(0, denoised(0, 0, 4))
    with pytest.raises(AssertionError, match="after the last step"):
        ring.pop()
