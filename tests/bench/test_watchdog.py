from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from avacast.bench.watchdog import EXIT_CODE, Watchdog

HANGS = """
import sys, time
from pathlib import Path
from avacast.bench.watchdog import Watchdog

figures = {}
def save():
    Path(sys.argv[1]).write_text(repr(figures))

with Watchdog(save, last_s=0.3, every_s=0.1, last_words=lambda: print(figures)):
    figures["measured"] = 1
    time.sleep(60)
"""


def test_a_run_that_hangs_ends_with_what_it_has(tmp_path: Path):
    """In a sentence, with an exit code that says so, and long before what hangs would have ended."""
    file = tmp_path / "figures"
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", HANGS, str(file)], capture_output=True, text=True, check=False)
    assert time.monotonic() - started < 30
    assert done.returncode == EXIT_CODE
    assert "the time is over" in done.stderr
    assert file.read_text() == done.stdout.strip() == "{'measured': 1}"


CANNOT_SPEAK = """
import sys, time
from avacast.bench.watchdog import Watchdog

def fails():
    raise KeyError("half a figure")

with Watchdog(fails, last_s=0.3, every_s=0.1, last_words=fails):
    time.sleep(60)
"""


def test_a_run_ends_in_time_also_where_nothing_can_be_saved_or_said():
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", CANNOT_SPEAK], capture_output=True, text=True, check=False)
    assert time.monotonic() - started < 30
    assert done.returncode == EXIT_CODE


NOBODY_READS = """
import sys, time
from avacast.bench.watchdog import Watchdog

def speak():
    print(1_000_000 * "figures ", flush=True)

with Watchdog(lambda: None, last_s=0.3, every_s=0.1, last_words=speak):
    time.sleep(60)
"""


def test_a_run_ends_in_time_also_where_nobody_reads_what_it_says():
    """As behind a pager that was left alone."""
    started = time.monotonic()
    with subprocess.Popen([sys.executable, "-c", NOBODY_READS], stdout=subprocess.PIPE) as process:
        assert process.wait(40) == EXIT_CODE
    assert time.monotonic() - started < 40


def test_what_is_measured_is_saved_while_the_work_goes_on():
    saved = threading.Event()
    with Watchdog(saved.set, last_s=60, every_s=0.01):
        assert saved.wait(10)


def test_figures_that_change_while_they_are_saved_are_saved_later():
    """A dictionary that grows under the writer's hands is no reason to stop watching."""
    calls: list[int] = []
    again = threading.Event()

    def save() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("dictionary changed size during iteration")
        again.set()

    with Watchdog(save, last_s=60, every_s=0.01):
        assert again.wait(10)


def test_work_that_fails_is_told_as_ever():
    with pytest.raises(ValueError, match="inside"), Watchdog(lambda: None, last_s=60):
        raise ValueError("inside")


def test_work_that_somebody_stops_is_saved_once_more():
    """Ctrl-C comes between two saves; what was measured since the last is not lost."""
    figures: dict[str, int] = {}
    saved: list[dict[str, int]] = []

    def stopped() -> None:
        figures["measured"] = 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Watchdog(lambda: saved.append(dict(figures)), last_s=60, every_s=60):
        stopped()
    assert saved == [{"measured": 1}]
