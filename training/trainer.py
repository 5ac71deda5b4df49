"""The loop of a training stage: loss, step, moving average, checkpoint; with a bar that says how long it will take.

Knows when to write and whom to tell; what is trained on what, and what a checkpoint is worth, is the stage's business.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn
from tqdm import tqdm

from avacast.training.checkpoint import save_stage
from avacast.training.optimiser import Optimiser

_SMOOTHING = 0.98


@dataclass(frozen=True)
class Trainer:
    """One stage's module and optimiser, as they were built or loaded, and where their checkpoint lies."""

    name: str
    module: nn.Module
    optimiser: Optimiser
    checkpoint: Path
    num_steps: int
    checkpoint_every: int

    def run(
        self,
        loss_at: Callable[[int], Tensor],
        on_checkpoint: Callable[[int, float], None],
        on_step: Callable[[int, float], None] = lambda _step, _loss: None,
    ) -> None:
        """Trains from the optimiser's step to the last.

        `loss_at(step)` is the loss of that step; `on_checkpoint(steps_done, running_loss)` is called after each
        checkpoint, `on_step(steps_done, loss)` after each step.
        """
        first = self.optimiser.step_index
        bar = tqdm(range(first, self.num_steps), self.name, initial=first, total=self.num_steps)
        running = 0.0
        for step in bar:
            loss = loss_at(step)
            self.optimiser.step(loss)
            value = loss.item()
            running = _SMOOTHING * running + (1 - _SMOOTHING) * value if running else value
            bar.set_postfix(loss=f"{running:.4f}", refresh=False)
            if (step + 1) % self.checkpoint_every == 0 or step + 1 == self.num_steps:
                save_stage(self.checkpoint, self.module, self.optimiser)
                on_checkpoint(step + 1, running)
            on_step(step + 1, value)
