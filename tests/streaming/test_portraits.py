"""Pictures to choose from."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from avacast.engine.errors import BadPortrait
from avacast.streaming.http_errors import RequestError
from avacast.streaming.portraits import MAX_UPLOAD_SIDE, MAX_UPLOADS, Portraits


def jpeg(width: int, height: int, **more: object) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(content, "JPEG", **more)
    return content.getvalue()


def test_an_upload_is_scaled_re_encoded_and_free_of_its_metadata(gallery: Path):
    """A large photo with a location in it becomes a PNG of bounded size without it."""
    exif = Image.Exif()
    exif[0x8825] = {1: "N"}
    portrait = asyncio.run(Portraits(gallery).add(jpeg(3000, 1500, exif=exif)))
    image = Image.open(io.BytesIO(portrait.png))
    assert (image.format, image.size) == ("PNG", (MAX_UPLOAD_SIDE, MAX_UPLOAD_SIDE // 2))
    assert not image.getexif()
    assert portrait.picture.dtype == np.uint8


def test_only_the_newest_uploads_are_kept(gallery: Path):
    portraits = Portraits(gallery)

    async def upload() -> list[str]:
        return [(await portraits.add(jpeg(80, 80))).name for _ in range(MAX_UPLOADS + 1)]

    names = asyncio.run(upload())
    assert len(set(names)) == MAX_UPLOADS + 1
    with pytest.raises(RequestError) as refused:
        portraits.get(names[0])
    assert refused.value.status == 404
    assert portraits.get(names[1]).name == names[1]
    assert portraits.get("ada").name == "ada"


def test_what_is_no_picture_is_refused(gallery: Path):
    with pytest.raises(BadPortrait):
        asyncio.run(Portraits(gallery).add(b"GIF89a"))
