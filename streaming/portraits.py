"""Pictures to choose from: the gallery that is shipped, and those that viewers uploaded.

Uploads live in memory only, are bounded, and have names that cannot be guessed. Knows files and bytes; knows nothing
of models.
"""

from __future__ import annotations

import asyncio
import io
import json
import secrets
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from avacast.engine.errors import Unavailable
from avacast.engine.portrait import load_portrait
from avacast.streaming.gallery import gallery_folder
from avacast.streaming.http_errors import RequestError

MAX_UPLOADS = 16
"""Uploaded pictures kept. Policy when full: the oldest is forgotten; sessions that use it go on."""

MAX_UPLOAD_SIDE = 1024
"""Uploads are scaled down to this, so that the bound above is also a bound of memory."""


@dataclass(frozen=True)
class Portrait:
    """One picture as the page lists it. `mouth_box`: top, left, bottom, right in pixels, where it is known."""

    name: str
    alt: str
    png: bytes
    mouth_box: tuple[int, int, int, int] | None = None

    @cached_property
    def picture(self) -> NDArray[np.uint8]:
        """uint8 [H, W, 3]."""
        return load_portrait(self.png)

    def describe(self) -> dict[str, Any]:
        url = f"/api/portraits/{self.name}"
        return {"name": self.name, "alt": self.alt, "url": url, "mouth_box": self.mouth_box}


class Portraits:
    """Gallery and uploads by name."""

    def __init__(self, gallery: Path | None = None) -> None:
        self._gallery = _read_gallery(gallery or gallery_folder())
        self._uploads: OrderedDict[str, Portrait] = OrderedDict()
        # A thread of its own: half a second for a large picture is time in which no viewer may miss frames.
        self._decoder = ThreadPoolExecutor(1, "pictures")

    def list(self) -> list[dict[str, Any]]:
        """The gallery's pictures; uploads are known only to whoever uploaded them."""
        return [portrait.describe() for portrait in self._gallery.values()]

    def get(self, name: str) -> Portrait:
        """Raises RequestError (404) for an unknown name."""
        portrait = self._gallery.get(name) or self._uploads.get(name)
        if portrait is None:
            text = "there is no such portrait; choose one of the gallery or upload a picture again"
            raise RequestError(HTTPStatus.NOT_FOUND, "not_found", text)
        return portrait

    async def add(self, content: bytes) -> Portrait:
        """Keeps an uploaded picture, re-encoded and without its metadata. Raises BadPortrait."""
        portrait = await asyncio.get_running_loop().run_in_executor(self._decoder, _reencode, content)
        self._uploads[portrait.name] = portrait
        if len(self._uploads) > MAX_UPLOADS:
            self._uploads.popitem(last=False)
        return portrait


def _reencode(content: bytes) -> Portrait:
    image = Image.fromarray(load_portrait(content))
    image.thumbnail((MAX_UPLOAD_SIDE, MAX_UPLOAD_SIDE), Image.Resampling.LANCZOS)
    png = io.BytesIO()
    image.save(png, "PNG")
    return Portrait(f"upload-{secrets.token_urlsafe(16)}", "your picture", png.getvalue())


def _read_gallery(folder: Path) -> dict[str, Portrait]:
    try:
        entries: list[dict[str, Any]] = json.loads((folder / "gallery.json").read_text())
    except FileNotFoundError as error:
        raise Unavailable(f"the gallery of portraits is missing from {folder}; install avacast again") from error
    portraits = [
        Portrait(entry["name"], entry["alt"], (folder / entry["file"]).read_bytes(), tuple(entry["mouth_box"]))
        for entry in entries
    ]
    return {portrait.name: portrait for portrait in portraits}
