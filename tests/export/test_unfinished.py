"""The hidden folder of an export: it outlives no process for longer than until the next export."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from avacast.export.unfinished import clear_leftovers, unfinished

NAME = "mic-onnx-fp32-b1"

STAYS = """
import sys, time
from pathlib import Path
from avacast.export.unfinished import unfinished

place = Path(sys.argv[1])
with unfinished(place) as export:
    (export.folder / "step.onnx").write_text("half a graph")
    if place.exists():
        place.rename(export.folder.with_name("old"))
    print("begun", flush=True)
    time.sleep(60)
"""
"""An export that has begun; an older one has stepped aside for it already."""


def begun(place: Path) -> subprocess.Popen[str]:
    """Such an export in a process of its own."""
    command = [sys.executable, "-P", "-c", STAYS, str(place)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def killed(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_it_becomes_the_export_and_replaces_an_older_one(tmp_path: Path):
    """Nothing is beside it in the end."""
    for content in ("first", "second"):
        with unfinished(tmp_path / NAME) as export:
            (export.folder / "step.onnx").write_text(content)
            export.put_in_place()
        assert names(tmp_path) == [NAME]
        assert (tmp_path / NAME / "step.onnx").read_text() == content


def test_what_fails_leaves_nothing(tmp_path: Path):
    with pytest.raises(ValueError, match="no"), unfinished(tmp_path / NAME):
        raise ValueError("no")
    assert names(tmp_path) == []


def test_an_older_export_comes_back_where_the_new_one_cannot_take_its_place(tmp_path: Path):
    """It had stepped aside already."""
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / "step.onnx").write_text("older")
    with unfinished(tmp_path / NAME) as export:
        export.folder.rmdir()
        with pytest.raises(FileNotFoundError):
            export.put_in_place()
        assert (tmp_path / NAME).is_dir()
    assert (tmp_path / NAME / "step.onnx").read_text() == "older"
    assert names(tmp_path) == [NAME]


def test_what_a_killed_export_left_is_cleared_by_the_next_of_any_kind(tmp_path: Path):
    """And by no reader before it. The folder tells whose it was."""
    process = begun(tmp_path / NAME)
    killed(process)
    (left,) = names(tmp_path)
    assert left.startswith(f".{NAME}-{process.pid}-")
    with unfinished(tmp_path / "tts-tensorrt-bf16-b2"):
        (mine,) = names(tmp_path)
        assert mine != left
    assert names(tmp_path) == []


def test_an_older_export_that_had_stepped_aside_for_a_killed_one_comes_back(tmp_path: Path):
    """It was whole, and nothing took its place."""
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / "step.onnx").write_text("older")
    killed(begun(tmp_path / NAME))
    assert names(tmp_path)[0].startswith(f".{NAME}-"), "stepped aside"
    clear_leftovers(tmp_path)
    assert names(tmp_path) == [NAME]
    assert (tmp_path / NAME / "step.onnx").read_text() == "older"


def test_an_export_that_is_under_way_is_left_alone(tmp_path: Path):
    """Whatever its process's number: it is told by the lock. Once it was killed, its folder goes."""
    process = begun(tmp_path / NAME)
    clear_leftovers(tmp_path)
    (folder,) = tmp_path.iterdir()
    assert (folder / "new" / "step.onnx").exists()
    killed(process)
    clear_leftovers(tmp_path)
    assert names(tmp_path) == []


def test_a_number_that_another_process_has_by_now_keeps_nothing(tmp_path: Path):
    """A leftover that bears this very process's."""
    (tmp_path / f".{NAME}-{os.getpid()}-abcd1234.unfinished").mkdir()
    clear_leftovers(tmp_path)
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", [".hidden", "mic-onnx-fp32-b1", ".git-12-abcd1234", f".{NAME}-x-y.unfinished"])
def test_what_is_no_leftover_stays(name: str, tmp_path: Path):
    (tmp_path / name).mkdir()
    clear_leftovers(tmp_path)
    assert names(tmp_path) == [name]


def test_a_folder_that_is_cleared_before_it_was_locked_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Another export that begins in that moment takes it for a leftover."""
    cleared = list[str]()
    open_ = os.open

    def slow(path: Path, flags: int, **named: Any) -> int:
        descriptor = open_(path, flags, **named)
        if not cleared:
            cleared.extend(names(tmp_path))
            clear_leftovers(tmp_path)
        return descriptor

    monkeypatch.setattr(os, "open", slow)
    with unfinished(tmp_path / NAME) as export:
        assert len(cleared) == 1
        assert export.folder.is_dir()
        assert export.folder.parent.name != cleared[0]
