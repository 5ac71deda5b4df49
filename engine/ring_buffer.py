"""The memory that joins the windows of one stream: at every denoising step, the tail of the window before.

A window's head is blended with the tail that the previous window had *at the same step*, so neighbours agree all the
way down and not only at the end. This module knows latents and steps; it knows no network, no audio and no pixels.

Look-ahead is 0: a window is fused with its past only, and a tail is kept as it stood when its own window was fused. The
released offline loop (`offline.py`) also feeds the fused frames back to the earlier window; a ring that keeps several
windows in flight would do so too, and its state would be this one's, once per window in flight.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from avacast.engine.config import WindowConfig
from avacast.engine.windows import WindowPlan, overlap_weights
from avacast.kernels.overlap_fusion import fuse_overlap


@dataclass(frozen=True)
class RingState:
    """Everything a ring buffer remembers. The tensors in it are never written to, so a copy is a reference."""

    window: int = 0
    """The window being denoised, or, between windows, the next one."""
    num_left: int = 0
    """Latent frames that have left, counted from the stream's start."""
    num_covered: int = 0
    """Latent frames that the windows so far have denoised, held back ones included."""
    tails: tuple[Tensor | None, ...] = ()
    """Per step, the last `overlap` latent frames of the latest window to reach it, `[B, C, O, H, W]`, as fused."""
    final: Tensor | None = None
    """The current window after its last step, until it is popped."""


class RingBuffer:
    """Fuses windows as they are denoised and hands out every latent frame once, in order.

    For each window call `fuse(step, latents)` at every step 0 .. `num_steps - 1`, then `pop()`. When no further window
    comes, `drain()` hands out what was held back. What has left never changes. Memory is one tail of `overlap` latent
    frames per step, however long the stream is.
    """

    def __init__(self, config: WindowConfig, num_steps: int) -> None:
        assert num_steps > 0, num_steps
        self.plan = WindowPlan.from_config(config)
        self._num_steps = num_steps
        self._first_fused_step = 0 if config.fuse_first_step else 1
        self._weights = torch.tensor(overlap_weights(config), dtype=torch.float32)
        self._state = RingState(tails=(None,) * num_steps)

    @property
    def window(self) -> int:
        """The window being denoised, or, between windows, the next one."""
        return self._state.window

    @property
    def num_left(self) -> int:
        """Latent frames that have left so far."""
        return self._state.num_left

    @property
    def num_covered(self) -> int:
        """Latent frames that the windows so far have denoised, held back ones included."""
        return self._state.num_covered

    def fuse(self, step: int, latents: Tensor) -> Tensor:
        """Blends the head of the current window with the previous window's tail at the same step.

        Args:
            step: the denoising step that made `latents`, from 0.
            latents: the whole current window, `[B, C, F, H, W]`; F is below the plan's window only for the last one.

        Returns:
            The window from which the next step goes on, `[B, C, F, H, W]`.
        """
        assert 0 <= step < self._num_steps, f"step {step} of {self._num_steps}"
        state = self._state
        previous = state.tails[step]
        if previous is not None and step >= self._first_fused_step:
            latents = fuse_overlap(latents, previous, self._weights)
        tail = latents[:, :, max(0, latents.shape[2] - self.plan.overlap) :].clone()
        tails = (*state.tails[:step], tail, *state.tails[step + 1 :])
        is_last_step = step == self._num_steps - 1
        self._state = replace(state, tails=tails, final=latents if is_last_step else None)
        return latents

    def pop(self) -> Tensor:
        """Ends the current window: the latent frames that are final now and have not left, `[B, C, N, H, W]`."""
        state = self._state
        assert state.final is not None, "pop() comes after the last step of a window"
        start, _ = self.plan.span(state.window)
        length = state.final.shape[2]
        stop = self.plan.num_final(state.window, length)
        leaving = state.final[:, :, state.num_left - start : stop - start].clone()
        self._state = replace(state, window=state.window + 1, num_left=stop, num_covered=start + length, final=None)
        return leaving

    def drain(self) -> Tensor:
        """The latent frames still held back, `[B, C, N, H, W]`; for the end of a stream, after the last `pop()`."""
        state = self._state
        tail = state.tails[-1]
        assert state.final is None, "drain() comes after pop()"
        assert tail is not None, "drain() comes after at least one window"
        num_held = state.num_covered - state.num_left
        self._state = replace(state, num_left=state.num_covered)
        return tail[:, :, tail.shape[2] - num_held :].clone()

    def snapshot(self) -> RingState:
        """The present state; restoring it continues from here, any number of times."""
        return self._state

    def restore(self, state: RingState) -> None:
        self._state = state
