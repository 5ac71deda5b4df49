"""What the tests share: golden vectors, found by their JSON files in the folder that `--goldens` names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# The workers of one run share the cores; torch's own threads on top only make them wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

DEFAULT_GOLDENS = Path(__file__).parent / "goldens"
SUFFIX = "_golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--goldens",
        type=Path,
        default=DEFAULT_GOLDENS,
        metavar="DIR",
        help="folder of golden vectors: KIND_*.json with the safetensors of the same name beside it",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs a test that asks for `KIND_golden` once for each `KIND*.json`; the argument is that file's path."""
    folder: Path = metafunc.config.getoption("goldens")
    if not any(folder.glob("*.json")):
        raise pytest.UsageError(f"--goldens {folder}: no golden vectors (*.json) there")
    for name in metafunc.fixturenames:
        if name.endswith(SUFFIX):
            cases = sorted(folder.glob(f"{name.removesuffix(SUFFIX)}*.json"))
            metafunc.parametrize(name, cases, ids=lambda path: path.stem)
