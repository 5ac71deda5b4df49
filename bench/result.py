"""The envelope of a result: what was measured, on which commit, when, on which hardware, with which versions.

Knows the machine and the file; knows nothing of what the figures mean.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

from avacast.engine.errors import Unavailable

RESULTS = Path(__file__).parent / "results"
"""Where results are kept that are worth keeping."""

_VERSIONS = ("avacast", "torch", "numpy")


@dataclass(frozen=True)
class Result:
    """One run of one benchmark."""

    name: str
    figures: dict[str, Any]
    commit: str
    """Git's name of the source, with `-dirty` where it was changed since; `unknown` outside a checkout."""
    date: str
    """Start, ISO 8601 in UTC."""
    cpu: str
    num_cpus: int
    """That this process may run on."""
    load: float
    """Processes that wanted to run, mean over the last minute: well above this benchmark's own, it was not alone."""
    system: str
    versions: dict[str, str]

    @classmethod
    def of(cls, name: str, figures: dict[str, Any]) -> Self:
        """Puts `figures` (anything that JSON can hold) into an envelope of here and now."""
        return cls(
            name=name,
            figures=figures,
            commit=_commit(),
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            cpu=_cpu_name(),
            num_cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
            load=round(os.getloadavg()[0], 2),
            system=f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
            versions={package: _version(package) for package in _VERSIONS},
        )

    def to_json(self) -> str:
        """One line. A figure that could not be measured (NaN) is null."""
        return json.dumps(_without_nan(dataclasses.asdict(self)), ensure_ascii=False, allow_nan=False)

    def save(self, path: Path) -> None:
        """Writes `path` whole or not at all. Raises Unavailable when that cannot be done."""
        write_whole(path, self.to_json() + "\n")


def write_whole(path: Path, text: str) -> None:
    """Writes `text` beside `path` and renames it: whole or not at all. Raises Unavailable when that cannot be done."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise Unavailable(f"{path} cannot be written ({error.strerror}); name another file") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    git = shutil.which("git")
    if git is None:
        return "unknown"
    command = [git, "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # no outside input
    return done.stdout.strip() or "unknown"


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
