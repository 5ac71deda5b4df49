"""The drawn portraits that ship with avacast, and how a portrait is named on the command line."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

from avacast.engine.errors import BadPortrait


def gallery_folder() -> Path:
    """Where the portraits and `gallery.json` lie, in a source tree and in an installed package alike."""
    return Path(str(importlib.resources.files("avacast.gallery")))


def gallery_names() -> list[str]:
    """Names of the portraits, in order."""
    return sorted(file.stem for file in gallery_folder().glob("*.png"))


def find_portrait(portrait: str) -> Path:
    """The picture that `portrait` means: a file, or the name of one in the gallery. Raises BadPortrait if neither."""
    if portrait.lower() in gallery_names():  # the page writes them with a capital
        return gallery_folder() / f"{portrait.lower()}.png"
    if not Path(portrait).is_file():
        known = ", ".join(gallery_names())
        raise BadPortrait(f"there is no picture {portrait!r}; name a PNG, JPEG or WebP file or one of: {known}")
    return Path(portrait)
