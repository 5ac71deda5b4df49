"""The shipped portraits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from avacast.engine.mouth import mouth_opening
from avacast.training.gallery import MOUTHS, PORTRAITS, contact_sheet, write_gallery

SHIPPED = Path(__file__).parents[2] / "gallery"


def pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.array(picture)


def test_gallery_lists_what_it_wrote(tmp_path: Path) -> None:
    """Each entry has a 256x256 RGB picture, a text for those who cannot see it, and a closed mouth in its box."""
    write_gallery(tmp_path, num_portraits=2)
    entries = json.loads((tmp_path / "gallery.json").read_text())
    assert [entry["name"] for entry in entries] == [name for name, _, _ in PORTRAITS[:2]]
    for entry in entries:
        picture = pixels(tmp_path / entry["file"])
        assert picture.shape == (256, 256, 3)
        assert len(entry["alt"]) > 20
        assert mouth_opening(picture[None], tuple(entry["mouth_box"]))[0] < 0.02


def test_shipped_gallery_is_what_the_code_draws(tmp_path: Path) -> None:
    """The files in the repository are those that `write_gallery` makes today, to one grey level."""
    write_gallery(tmp_path)
    assert json.loads((tmp_path / "gallery.json").read_text()) == json.loads((SHIPPED / "gallery.json").read_text())
    for name, _, _ in PORTRAITS:
        fresh, shipped = (pixels(folder / f"{name}.png").astype(int) for folder in (tmp_path, SHIPPED))
        assert np.abs(fresh - shipped).max() <= 1


def test_contact_sheet_has_everybody_in_every_shape(tmp_path: Path) -> None:
    """One column for each person, one row for each mouth shape."""
    contact_sheet(tmp_path / "faces.png", tile=64)
    with Image.open(tmp_path / "faces.png") as sheet:
        assert sheet.size == (64 * len(PORTRAITS), 64 * len(MOUTHS))
