"""A result carries where it came from, and is written whole or not at all."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from avacast.bench.result import Result
from avacast.engine.errors import Unavailable


def test_the_envelope_says_when_where_and_with_what() -> None:
    """Commit, date, processor, cores, load and versions; what was measured is inside."""
    values = json.loads(Result.of("speed", {"real_time_factor": 0.5}).to_json())
    assert values["name"] == "speed"
    assert values["figures"] == {"real_time_factor": 0.5}
    assert abs((datetime.now(UTC) - datetime.fromisoformat(values["date"])).total_seconds()) < 60
    assert all(values[key] for key in ("commit", "cpu", "system"))
    assert values["num_cpus"] >= 1
    assert values["load"] >= 0
    assert set(values["versions"]) == {"avacast", "torch", "numpy"}


def test_it_is_one_line_and_strict_json() -> None:
    """What could not be measured is null, however deep it lies."""
    line = Result.of("quality", {"mean": {"lag_ms": float("nan")}, "rows": [float("inf"), 1.0]}).to_json()
    assert "\n" not in line
    assert json.loads(line)["figures"] == {"mean": {"lag_ms": None}, "rows": [None, 1.0]}


def test_an_older_result_is_replaced_and_nothing_lies_beside_it(tmp_path: Path) -> None:
    """The folder is made; only the result is in it afterwards."""
    file = tmp_path / "results" / "speed.json"
    for factor in (0.6, 0.5):
        Result.of("speed", {"real_time_factor": factor}).save(file)
    assert json.loads(file.read_text())["figures"]["real_time_factor"] == 0.5
    assert list(file.parent.iterdir()) == [file]


def test_a_place_that_cannot_be_written_is_a_plain_error(tmp_path: Path) -> None:
    """A file where a folder should be: one line that names it."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(Unavailable, match=r"taken.*name another file"):
        Result.of("speed", {}).save(tmp_path / "taken" / "speed.json")
