"""How far `avacast bench gpu` is, in seconds of its sections' shares: a bar with the time left, a line for each end.

Knows the terminal and a clock; a file or a pipe gets the lines alone. Knows no section.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import Progress, ProgressColumn, Task, TextColumn
from rich.progress_bar import ProgressBar
from rich.text import Text


@dataclass
class Shares:
    """The time that all sections may take, and how much of it is over."""

    total_s: float
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
        """Of the time, as minutes and seconds: sections may end sooner."""
        minutes, seconds = divmod(round(max(0.0, self.total_s - self.over_s)), 60)
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
def section_progress(console: Console, total_s: float) -> Generator[SectionProgress]:
    """A bar on `console`, gone at the end, for sections whose shares are `total_s` together."""
    shares = Shares(total_s)
    columns = (TextColumn("{task.description}"), _Bar(shares), _TimeLeft(shares))
    with Progress(*columns, console=console, transient=True) as progress:
        yield SectionProgress(progress, shares)
