"""The memory of a process and all that it started, as Linux accounts it. Knows /proc; knows nothing of avatars."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

_PROC = Path("/proc")


def tree_memory_mb(pid: int) -> float:
    """Memory of process `pid` and its descendants, in MB; what they share is counted once (their PSS, summed).

    NaN where the system does not tell as Linux does.
    """
    if not (_PROC / str(pid) / "smaps_rollup").exists():
        return float("nan")
    children = _children()
    total, waiting = 0.0, [pid]
    while waiting:
        process = waiting.pop()
        waiting += children[process]
        total += _memory_mb(process)
    return total


def _memory_mb(pid: int) -> float:
    """Proportional set size; 0 for a process that has just ended."""
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(float(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024 / 1e6


def _children() -> defaultdict[int, list[int]]:
    children: defaultdict[int, list[int]] = defaultdict(list)
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            try:
                # The name stands in brackets and may hold anything; state and parent follow it.
                parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            except OSError:
                continue  # it has ended
            children[int(parent)].append(int(folder.name))
    return children
