"""training/png_file.py: pictures for people to look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from avacast.training.png_file import write_png


def test_a_picture_is_written_as_it_is(tmp_path: Path) -> None:
    """To the last bit, red as red; another reader agrees."""
    picture = np.random.default_rng(0).integers(256, size=(5, 7, 3), dtype=np.uint8)
    write_png(tmp_path / "a.png", picture)
    assert (np.asarray(Image.open(tmp_path / "a.png")) == picture).all()


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """OpenCV alone would say nothing."""
    with pytest.raises(OSError, match="none"):
        write_png(tmp_path / "none" / "a.png", np.zeros((2, 2, 3), np.uint8))
