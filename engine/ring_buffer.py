"""The memory that joins the windows of one stream: at every denoising step, the line of latents that windows share.

A window's head is blended with what the windows before it left on the line *of the same step*, so neighbours agree all
the way down and not only at the end; its next step starts from the line, and so from what later windows have meanwhile
made of the overlap, where the schedule let them go first. A line is kept only as far back as a window still needs it.
This module knows latents, positions and steps; it knows no network, no audio and no pixels.

Source: the dynamic weighted sliding window of StableAvatar (arXiv 2508.08248), made incremental.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from avacast.engine.offload import Move
from avacast.engine.profile import WindowConfig
from avacast.engine.wavefront import Pass, Wavefront
from avacast.engine.windows import WindowPlan, overlap_weights
from avacast.kernels.overlap_fusion import fuse_overlap


@dataclass(frozen=True)
class Line:
    """The latents of one step that are still needed; the tensor is never written to, so a copy is a reference."""

    start: int
    """Latent frame of the stream at which `latents` begins."""
    latents: Tensor
    """`[B, C, N, H, W]`"""

    @property
    def stop(self) -> int:
        return self.start + self.latents.shape[2]

    def read(self, start: int, stop: int) -> Tensor:
        assert self.start <= start <= stop <= self.stop, f"[{start}, {stop}) of [{self.start}, {self.stop})"
        return self.latents[:, :, start - self.start : stop - self.start]


@dataclass(frozen=True)
class RingState:
    """Everything a ring buffer remembers."""

    plan: WindowPlan
    wavefront: Wavefront
    lines: tuple[Line | None, ...]
    """By step."""
    num_left: int = 0
    """Latent frames that have left, counted from the stream's start."""

    def moved(self, move: Move) -> RingState:
        """The same with the lines' tensors elsewhere."""
        lines = tuple(None if line is None else replace(line, latents=move(line.latents)) for line in self.lines)
        return replace(self, lines=lines)

    @property
    def tensors(self) -> list[Tensor]:
        """The lines'."""
        return [line.latents for line in self.lines if line is not None]


class RingBuffer:
    """Keeps the schedule and the lines of a stream, and hands out every latent frame once, in order.

    `admit` begins a window; then, while there is a pass `due`, `fuse` takes what the network made of it, and `pop`
    hands out what has become final. What has left never changes. Memory is bounded by the windows in flight, however
    long the stream is.
    """

    def __init__(self, config: WindowConfig, num_steps: int) -> None:
        assert num_steps > 0, num_steps
        self._config = config
        self._state = RingState(WindowPlan.from_config(config), Wavefront.start(num_steps), (None,) * num_steps)

    @property
    def plan(self) -> WindowPlan:
        return self._state.plan

    @property
    def wavefront(self) -> Wavefront:
        return self._state.wavefront

    @property
    def num_left(self) -> int:
        """Latent frames that have left so far."""
        return self._state.num_left

    def admit(self, lags: tuple[int, ...]) -> None:
        """Begins the next window; its later steps run `lags` windows behind."""
        self._state = replace(self._state, wavefront=self.wavefront.admitted(lags))

    def hurry(self) -> None:
        """Lets every window in flight take its later steps now, whatever the lags were."""
        self._state = replace(self._state, wavefront=self.wavefront.hurried())

    def due(self, end: int | None = None) -> Pass | None:
        """The pass to run now, if any; `end` is the number of the stream's latent frames once it is known."""
        return self.wavefront.due(None if end is None else self.plan.num_windows(end))

    def read(self, step: int, start: int, stop: int) -> Tensor:
        """What step `step` left of the latent frames [start, stop), `[B, C, F, H, W]`."""
        line = self._state.lines[step]
        assert line is not None, f"no window has taken step {step}"
        return line.read(start, stop)

    def fuse(self, done: Pass, latents: Tensor) -> None:
        """Blends the head of a window, as its pass left it, with the line of the same step, and lays it down there.

        `latents` is the whole window, `[B, C, F, H, W]`; F is below the plan's window only for a stream's last one.
        """
        start = self.plan.span(done.window)[0]
        line = self._state.lines[done.step]
        # A copy: the caller's tensor may be a buffer that the next pass writes to.
        joined = latents.clone() if line is None else self._joined(line, done.step, start, latents)
        line = Line(start, joined) if line is None else Line(line.start, joined)
        lines = (*self._state.lines[: done.step], line, *self._state.lines[done.step + 1 :])
        self._state = replace(self._state, wavefront=self.wavefront.advanced(done), lines=lines)
        self._forget()

    def stands_alone(self, due: Pass) -> bool:
        """Whether the window that is due may take all its steps at once: none waits, and no other is in flight."""
        alone = due.step == 0 and self.wavefront.in_flight == range(due.window, due.window + 1)
        stops = {None if line is None else line.stop for line in self._state.lines}
        return alone and not any(self.wavefront.lags) and len(stops) == 1

    def tails(self, window: int, num_latents: int) -> Tensor | None:
        """For every step, what was left of the first of a window's `num_latents` frames, `[S, B, C, N, H, W]`.

        N is at most the overlap; None where nothing was left. Only for a window that stands alone.
        """
        start = self.plan.span(window)[0]
        lines = [line for line in self._state.lines if line is not None]
        tails = [line.read(start, min(line.stop, start + num_latents)) for line in lines]
        return torch.stack(tails) if tails else None

    def lay(self, window: int, windows: Tensor) -> None:
        """Lays a window that stood alone down as every step left it, fused already: `windows` `[S, B, C, F, H, W]`."""
        start, wavefront = self.plan.span(window)[0], self.wavefront
        lines: list[Line] = []
        for step, (line, latents) in enumerate(zip(self._state.lines, windows.unbind(), strict=True)):
            before = [] if line is None else [line.read(line.start, start)]
            lines.append(Line(start if line is None else line.start, torch.cat([*before, latents], dim=2)))
            wavefront = wavefront.advanced(Pass(window, step))
        self._state = replace(self._state, wavefront=wavefront, lines=tuple(lines))
        self._forget()

    def pop(self, end: int | None = None) -> Tensor | None:
        """Latent frames that are final and have not left, `[B, C, N, H, W]`; None when there are none."""
        finished = self.wavefront.num_finished
        if not finished:
            return None
        covered = self.plan.span(finished - 1, end)[1]
        stop = covered if covered == end else covered - self.plan.held_back
        if stop <= self.num_left:
            return None
        leaving = self.read(-1, self.num_left, stop).clone()
        self._state = replace(self._state, num_left=stop)
        self._forget()
        return leaving

    def replan(self, config: WindowConfig, steps: tuple[int, ...]) -> None:
        """Goes on in other windows from the present end of the line, between two windows.

        `steps` names, for every step from now on, the step of the old windows whose line it continues. The first new
        window overlaps the last old one by as much as both plans have.
        """
        state, plan = self._state, WindowPlan.from_config(config)
        assert not self.wavefront.in_flight, "windows are changed when none is in flight"
        lines = tuple(state.lines[step] for step in steps)
        if state.lines[-1] is not None:
            covered = state.lines[-1].stop
            plan = replace(
                plan, origin=covered - min(plan.overlap, state.plan.overlap, covered - state.lines[-1].start)
            )
        self._config = config
        self._state = RingState(plan, Wavefront.start(len(steps)), lines, state.num_left)

    def cut(self) -> None:
        """Forgets all that has not left, windows in flight included; the next window is fused over the tail of it."""
        state, num_steps = self._state, len(self._state.lines)
        lines = tuple(_until(line, state.num_left) for line in state.lines)
        self._state = RingState(state.plan, Wavefront.start(num_steps), lines, state.num_left)
        self.replan(self._config, tuple(range(num_steps)))

    def snapshot(self) -> tuple[WindowConfig, RingState]:
        """The present state; restoring it continues from here, any number of times. Tensors are shared."""
        return self._config, self._state

    def restore(self, state: tuple[WindowConfig, RingState]) -> None:
        self._config, self._state = state

    def _joined(self, line: Line, step: int, start: int, latents: Tensor) -> Tensor:
        """The line up to the window's start, then the window, its head blended with the line under it."""
        overlap = min(line.stop - start, latents.shape[2])
        if step > 0 or self._config.fuse_first_step:
            weights = _weights_on(latents.device, self._config, overlap)
            latents = fuse_overlap(latents, line.read(start, start + overlap), weights)
        return torch.cat([line.read(line.start, start), latents], dim=2)

    def _forget(self) -> None:
        """Lets go of what neither a next step, nor the fusion of a next window, nor one after a cut needs any more."""
        state, windows = self._state, self.wavefront.next_windows
        needed = [self.plan.span(window)[0] for window in (*windows[1:], windows[-1])]
        tail = max(0, state.num_left - self.plan.overlap)
        lines = tuple(_from(line, min(start, tail)) for line, start in zip(state.lines, needed, strict=True))
        self._state = replace(state, lines=lines)


@functools.lru_cache(maxsize=64)
def _weights_on(device: torch.device, config: WindowConfig, overlap: int) -> Tensor:
    """The weights of a window's head, where its latents lie: copied there anew they would make the host wait."""
    with torch.inference_mode(False):
        return torch.tensor(overlap_weights(config, overlap), dtype=torch.float32, device=device)


def _from(line: Line | None, start: int) -> Line | None:
    """The line without what lies before `start`, in memory of its own: a view would keep the whole of it."""
    if line is None or start <= line.start:
        return line
    return Line(min(start, line.stop), line.read(min(start, line.stop), line.stop).clone())


def _until(line: Line | None, stop: int) -> Line | None:
    """The line without what lies from `stop` on; None where that is all of it."""
    if line is None or line.stop <= stop:
        return line
    return Line(line.start, line.read(line.start, stop).clone()) if line.start < stop else None
