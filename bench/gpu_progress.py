"""How far `avacast bench gpu` is, by its sections' shares of the time: a bar with the time left, a line for each end.

Knows the terminal and a clock; a file or a pipe gets the lines alone. Knows no section.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import Progress, ProgressColumn, Task, TextColumn
from rich.progress_bar import ProgressBar
from rich.text import Text


@dataclass
class Shares:
    """How much of the sections' shares is over, and the time that they have together."""

    total_s: float
    left_s: Callable[[], float]
    """Until the last moment: what a section leaves of its share, later ones may take."""
    _ended_s: float = 0.0
    _share_s: float = 0.0
    _started: float = field(default_factory=time.monotonic)

    def begin(self, share_s: float) -> None:
        """A section that may take `share_s` begins."""
        self._share_s, self._started = share_s, time.monotonic()

    def end(self) -> float:
        """The section that was begun has ended; returns the seconds that it took. Its share is over, used or not."""
        took_s = time.monotonic() - self._started
        self._ended_s += self._share_s
        self._share_s = 0.0
        return took_s

    @property
    def over_s(self) -> float:
        """A section moves the bar while it runs, and never beyond its share."""
        return self._ended_s + min(self._share_s, time.monotonic() - self._started)

    @property
    def left(self) -> str:
        """Of the time, as minutes and seconds, once every section has ended none: sections may end sooner."""
        left_s = max(0.0, self.left_s()) if self._ended_s < self.total_s else 0.0
        minutes, seconds = divmod(round(left_s), 60)
        return f"at most {minutes}:{seconds:02} left"


class _Bar(ProgressColumn):
    def __init__(self, shares: Shares) -> None:
        super().__init__()
        self._shares = shares

    def render(self, task: Task) -> ProgressBar:  # noqa: ARG002  # rich's signature
        return ProgressBar(total=self._shares.total_s, completed=self._shares.over_s, width=40)


class _TimeLeft(ProgressColumn):
    def __init__(self, shares: Shares) -> None:
        super().__init__()
        self._shares = shares

    def render(self, task: Task) -> Text:  # noqa: ARG002  # rich's signature
        return Text(self._shares.left)


class SectionProgress:
    """Told of each section's beginning and end. Made by `section_progress`."""

    def __init__(self, progress: Progress, shares: Shares) -> None:
        self._progress, self._shares = progress, shares
        self._task = progress.add_task("")

    def refresh(self) -> None:
        """Draws the bar now; by itself it is drawn ten times a second."""
        self._progress.refresh()

    @contextmanager
    def section(self, name: str, share_s: float) -> Generator[None]:
        """Around a section that may take `share_s`."""
        self._shares.begin(share_s)
        self._progress.update(self._task, description=name)
        yield
        took_s = self._shares.end()
        self._progress.console.print(f"{name}: {took_s:.0f} s; {self._shares.left}", highlight=False)


@contextmanager
def section_progress(console: Console, total_s: float, left_s: Callable[[], float]) -> Generator[SectionProgress]:
    """A bar on `console`, gone at the end, for sections whose shares are `total_s` together and that have `left_s`."""
    shares = Shares(total_s, left_s)
    columns = (TextColumn("{task.description}"), _Bar(shares), _TimeLeft(shares))
    with Progress(*columns, console=console, transient=True) as progress:
        yield SectionProgress(progress, shares)
