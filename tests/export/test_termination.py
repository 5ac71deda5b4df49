"""Signals to end during work that swallows what their handlers raise: the process ends in time and in order."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest

from avacast.export.termination import SIGNALS, Heeded


class Told(BaseException):
    """What the handler of these tests raises."""


@pytest.fixture(autouse=True)
def handler() -> Generator[None]:
    """For both signals, while a test runs."""

    def tell(_number: int, _frame: object) -> NoReturn:
        raise Told

    before = {number: signal.signal(number, tell) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def say_nothing() -> None:
    """Nothing to clean up."""


def heeding(*work: Callable[[], object]) -> None:
    """Does one piece of work after the other."""
    with Heeded(say_nothing):
        for piece in work:
            piece()


def sleep() -> None:
    time.sleep(60)


def lose(seconds: float) -> int:
    """Work that forgets whatever is raised in it; returns how often that was."""
    until, lost = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        try:
            time.sleep(0.01)
        except Told:
            lost += 1
    return lost


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_the_work_as_ever(number: signal.Signals):
    """By what its handler raises, at once; afterwards the handler is the one before."""
    before = signal.getsignal(number)
    started = time.monotonic()
    with pytest.raises(Told):
        heeding(partial(signal.raise_signal, number), sleep)
    assert time.monotonic() - started < 10
    assert signal.getsignal(number) is before


def test_what_is_lost_is_raised_again_until_the_work_was_left():
    """In what a garbage collection runs, Python forgets it; the next one comes a tenth of a second later."""

    class Collected:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    lost: list[object] = []
    hook, sys.unraisablehook = sys.unraisablehook, lost.append
    try:
        with pytest.raises(Told):
            heeding(Collected, sleep)
    finally:
        sys.unraisablehook = hook
    assert len(lost) == 1, "it was lost at first"


def test_work_that_loses_it_and_comes_to_its_end_ends_as_told():
    lost: list[int] = []
    threading.Timer(0.05, signal.raise_signal, [signal.SIGTERM]).start()
    with pytest.raises(Told):
        heeding(lambda: lost.append(lose(0.5)))
    assert lost[0] > 1


def test_work_that_takes_it_for_a_fault_of_its_own_ends_as_told():
    """An error that was made of it is none."""

    def taken() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except Told as error:
            raise RuntimeError("the network cannot be traced") from error

    with pytest.raises(Told):
        heeding(taken)


def test_a_fault_of_the_work_stays_one():
    with pytest.raises(ZeroDivisionError):
        heeding(lambda: 1 / 0)


def test_a_handler_that_ends_nothing_is_not_insisted_on():
    """Whoever only notes the signal decides for himself when to end."""
    noted: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: noted.append(number))
    with Heeded(say_nothing, last_s=0.2):
        signal.raise_signal(signal.SIGTERM)
        time.sleep(0.5)
    assert noted == [signal.SIGTERM]


def test_in_another_thread_nothing_is_changed():
    """Handlers belong to the main thread."""
    before, seen = signal.getsignal(signal.SIGTERM), list[object]()

    def work() -> None:
        with Heeded(say_nothing):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


NEVER_ENDS = """
import signal, sys, time
from pathlib import Path
from avacast.export.termination import Heeded

signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
with Heeded(Path(sys.argv[1]).unlink, last_s=0.5):
    while True:
        try:
            print("begun", flush=True)  # where what is raised is already lost
            time.sleep(60)
        except SystemExit:
            pass
"""


def test_work_that_never_ends_is_ended_and_cleaned_up(tmp_path: Path):
    """With the status of a termination."""
    file = tmp_path / "half"
    file.write_text("half a graph")
    command = [sys.executable, "-P", "-c", NEVER_ENDS, str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.terminate()
        assert process.wait(30) == 128 + signal.SIGTERM
    assert not file.exists()
