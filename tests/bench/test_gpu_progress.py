"""How far the report is, told to terminals and to files."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from avacast.bench.gpu_progress import Shares, section_progress


def test_the_bar_moves_while_a_section_runs_and_no_further_than_its_share():
    """A section of 0.1 s out of 60 s that takes longer; one that ends sooner leaves its time to those after it."""
    shares = Shares(60.0, lambda: 59.6)
    shares.begin(0.1)
    time.sleep(0.02)
    first = shares.over_s
    time.sleep(0.15)
    assert 0 < first < shares.over_s == pytest.approx(0.1)
    shares.end()
    shares.begin(50.0)
    assert shares.end() < 1
    assert shares.over_s == pytest.approx(50.1)
    assert shares.left == "at most 1:00 left"
    shares.begin(9.9)
    shares.end()
    assert shares.left == "at most 0:00 left", "nothing more is done"


def test_a_file_gets_a_line_for_each_section():
    """No bar, no colours: what a log needs."""
    console = Console(file=io.StringIO(), width=80)
    with section_progress(console, 90.0, lambda: 70.0) as progress:
        with progress.section("ceilings", 30.0):
            pass
        with progress.section("forward", 60.0):
            pass
    lines = console.file.getvalue().split("\n")  # type: ignore[attr-defined]  # a StringIO
    assert lines[:2] == ["ceilings: 0 s; at most 1:10 left", "forward: 0 s; at most 0:00 left"]
    assert "".join(lines[2:]).strip() == ""


def test_a_terminal_shows_a_bar_and_the_time_left():
    """While a section runs."""
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    with section_progress(console, 90.0, lambda: 90.0) as progress, progress.section("ceilings", 30.0):
        progress.refresh()
        shown = console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO
    assert "ceilings" in shown
    assert "at most 1:30 left" in shown
    assert "━" in shown
