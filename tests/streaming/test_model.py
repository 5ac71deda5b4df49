"""Which device a command runs on, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from avacast.engine.device import chosen_device
from avacast.engine.errors import BadSetting, Unavailable
from avacast.streaming.model import load_fastest

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")


@no_gpu
def test_without_a_gpu_the_cpu_is_chosen():
    """And a GPU that was asked for is refused in a sentence."""
    assert chosen_device("auto") == "cpu"
    with pytest.raises(Unavailable, match="--device cpu"):
        chosen_device("cuda:1")


@pytest.mark.parametrize("device", ["toaster", "meta", ""])
def test_what_is_no_device_is_refused(device: str):
    """Before a model is loaded."""
    with pytest.raises(BadSetting, match="say auto, cpu, cuda"):
        chosen_device(device)


def test_a_folder_of_exports_that_is_not_there_is_refused(tmp_path: Path):
    """A name that was mistyped must not mean that exports are left out without a word."""
    with pytest.raises(BadSetting, match="is no folder"):
        load_fastest(None, exports=tmp_path / "missing")
