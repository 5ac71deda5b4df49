"""Memory of a process tree: children count, what is shared counts once."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import numpy as np
import pytest

from avacast.bench.process_memory import tree_memory_mb

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

HELD = "held = b'x' * 50_000_000"
CHILD = f"{HELD}; print('ready', flush=True); input()"
PARENT = f"import subprocess, sys; {HELD}; subprocess.run([sys.executable, '-c', {CHILD!r}])"


def test_what_a_process_holds_is_counted():
    before = tree_memory_mb(os.getpid())
    held = np.ones(100_000_000, np.uint8)
    assert 80 < tree_memory_mb(os.getpid()) - before < 120
    assert len(held) > before > 10


def test_a_child_and_its_child_are_counted():
    """Both are Python holding 50 MB."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", PARENT], text=True, **pipes) as process:
        assert process.stdout
        assert process.stdin
        assert process.stdout.readline() == "ready\n"
        assert 100 < tree_memory_mb(process.pid) < 200
        process.stdin.write("\n")
        process.stdin.close()


def test_a_process_that_is_not_there_is_not_measured():
    assert math.isnan(tree_memory_mb(2**30))
