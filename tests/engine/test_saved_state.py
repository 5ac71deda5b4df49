"""What is on disk of an unfinished rendering is whole, and is used for that rendering alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from avacast.engine.errors import BadSetting, Unavailable
from avacast.engine.saved_state import SavedState

LATENTS = torch.arange(24.0).reshape(1, 2, 3, 2, 2)


def test_what_was_saved_last_is_loaded(tmp_path: Path):
    state = SavedState(tmp_path / "state.safetensors", "work")
    assert state.load() is None
    state.save(1, LATENTS)
    state.save(2, LATENTS + 1)
    loaded = state.load()
    assert loaded is not None
    assert loaded[0] == 2
    assert torch.equal(loaded[1], LATENTS + 1)
    assert [file.name for file in tmp_path.iterdir()] == ["state.safetensors"]
    state.remove()
    assert state.load() is None


def test_the_state_of_other_work_is_refused_and_kept(tmp_path: Path):
    SavedState(tmp_path / "state.safetensors", "work").save(1, LATENTS)
    with pytest.raises(BadSetting, match="another picture"):
        SavedState(tmp_path / "state.safetensors", "other").load()
    assert SavedState(tmp_path / "state.safetensors", "work").load() is not None


@pytest.mark.parametrize("length", [0, 7, 100])
def test_a_damaged_state_is_refused(tmp_path: Path, length: int):
    state = SavedState(tmp_path / "state.safetensors", "work")
    state.save(1, LATENTS)
    state.path.write_bytes(state.path.read_bytes()[:length])
    with pytest.raises(BadSetting, match="delete it"):
        state.load()


def test_a_disk_that_refuses_leaves_the_older_state(tmp_path: Path):
    with pytest.raises(Unavailable, match="check disk and rights"):
        SavedState(tmp_path / "nowhere" / "state.safetensors", "work").save(1, LATENTS)
