"""`avacast bench schedule`: the picture of which window takes which denoising step when, made by the real schedule.

The passes come from `Wavefront`, with the lags that a session gives it; nothing is arranged by hand. Knows counts and
the file; how the picture is drawn is `schedule_picture`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

import typer

from avacast.bench.result import write_whole
from avacast.bench.schedule_picture import Panel, schedule_picture
from avacast.engine.profile import WindowConfig
from avacast.engine.wavefront import Pass, Wavefront, step_lags
from avacast.engine.windows import WindowPlan

NUM_STEPS, NUM_WINDOWS = 4, 7
WINDOW = WindowConfig(window=6, overlap=2)


@dataclass(frozen=True)
class Schedule:
    """A whole stream of `num_windows` windows, tick by tick; with each tick one more window has its sound."""

    ticks: tuple[tuple[Pass, ...], ...]
    """The passes of each tick in their order."""
    num_left: tuple[int, ...]
    """Latent frames that have left after each tick."""

    @classmethod
    def of(cls, config: WindowConfig, num_steps: int, lookahead: int, num_windows: int) -> Self:
        plan, lags = WindowPlan.from_config(config), step_lags(num_steps, lookahead, config.neighbours)
        end = plan.span(num_windows - 1)[1]
        wave, ticks, num_left = Wavefront.start(num_steps), list[tuple[Pass, ...]](), list[int]()
        while wave.num_finished < num_windows:
            wave, passes = wave.admitted(lags), list[Pass]()
            while (due := wave.due(num_windows)) is not None:
                passes.append(due)
                wave = wave.advanced(due)
            ticks.append(tuple(passes))
            num_left.append(final_latents(plan, wave.num_finished, end))
        return cls(tuple(ticks), tuple(num_left))


def final_latents(plan: WindowPlan, num_finished: int, end: int) -> int:
    """Latent frames that nothing changes any more once so many windows have taken their last step."""
    if not num_finished:
        return 0
    stop = plan.span(num_finished - 1, end)[1]
    return stop if stop == end else stop - plan.held_back


def schedule(
    output: Annotated[Path, typer.Option("--output", "-o", help="The SVG file to write.")] = Path("schedule.svg"),
) -> None:
    """Draw which window takes which denoising step when, for no, some and full look-ahead, side by side.

    The picture is plain SVG and comes from the schedule that live sessions run. The one in the documentation:
    `avacast bench schedule --output docs/schedule.svg`.
    """
    write_whole(output, picture())
    typer.echo(f"{output}: look-ahead 0, 1 and {NUM_STEPS - 1} of {NUM_STEPS} steps, {NUM_WINDOWS} windows")


def picture() -> str:
    """The SVG text."""
    titles = {
        0: "look-ahead 0: fused with the past only",
        1: "look-ahead 1: the last step waits",
        NUM_STEPS - 1: f"look-ahead {NUM_STEPS - 1}: every step waits, the paper's loop",
    }
    panels: list[Panel] = []
    for lookahead, title in titles.items():
        made = Schedule.of(WINDOW, NUM_STEPS, lookahead, NUM_WINDOWS)
        lags = step_lags(NUM_STEPS, lookahead, WINDOW.neighbours)
        panels.append(Panel(title, made.ticks, made.num_left, lags))
    return schedule_picture(panels, WINDOW, NUM_STEPS, NUM_WINDOWS)
