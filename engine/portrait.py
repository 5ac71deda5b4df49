"""A picture file read with suspicion: format, size and damage are checked before its pixels are believed.

This module knows pictures; it does not know whether there is a face in them. It imports no torch, so that a server can
check an upload without it, and Pillow only to open one, so that a benchmark runs without that.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from avacast.engine.errors import BadPortrait

if TYPE_CHECKING:
    from PIL import Image

Picture = NDArray[np.uint8]
"""RGB, `[H, W, 3]`."""

FORMATS = ("PNG", "JPEG", "WEBP")
MAX_BYTES = 10_000_000
MAX_PIXELS = 12_500_000
"""What phones call 12 megapixels is 4032x3024, and a little more than that."""
MIN_SIDE = 64
MAX_SIDE = 4096
MAX_ASPECT = 4
BACKGROUND = (255, 255, 255)
"""What shows through transparent parts."""


def load_portrait(source: Path | str | bytes) -> Picture:
    """Reads a PNG, JPEG or WebP picture from a file or from its bytes: upright, RGB, uint8 `[H, W, 3]`.

    Raises BadPortrait for anything else: no such file, another format, more than 10 MB or 12 megapixels, sides
    outside 64 to 4096, more than 4 times as long as wide, several frames, damaged.
    """
    from PIL import ImageOps

    content = source if isinstance(source, bytes) else _read(Path(source))
    if len(content) > MAX_BYTES:
        raise BadPortrait(f"the picture is larger than {MAX_BYTES // 1_000_000} MB; use a smaller file")
    if not content:
        raise BadPortrait("the picture is empty; choose another file")
    with _open(content) as image:
        _check_size(image)
    try:
        with _open(content) as image:
            image.verify()  # checksums, which decoding alone passes over
        with _open(content) as image:
            return np.array(_to_rgb(ImageOps.exif_transpose(image)))
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        raise BadPortrait("the picture is damaged or cut short; save it again or choose another") from error


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise BadPortrait(f"there is no picture at {path}; check the path") from error
    except OSError as error:
        raise BadPortrait(f"{path} cannot be read ({error.strerror}); choose another file") from error


def _open(content: bytes) -> Image.Image:
    from PIL import Image

    try:
        with warnings.catch_warnings():
            # Pillow only warns of a picture of moderate excess; both are refused below by their size.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return Image.open(io.BytesIO(content), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadPortrait(_too_many_pixels()) from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        raise BadPortrait("the picture is no PNG, JPEG or WebP file, or is damaged; save it as one of these") from error


def _too_many_pixels() -> str:
    return f"the picture has more than {MAX_PIXELS // 1_000_000} megapixels; make it smaller"


def _check_size(image: Image.Image) -> None:
    width, height = image.size
    if getattr(image, "n_frames", 1) > 1:
        raise BadPortrait("the picture is an animation; use a still picture")
    if width * height > MAX_PIXELS:
        raise BadPortrait(_too_many_pixels())
    if min(width, height) < MIN_SIDE or max(width, height) > MAX_SIDE:
        raise BadPortrait(f"the picture is {width}x{height}; each side must have {MIN_SIDE} to {MAX_SIDE} pixels")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise BadPortrait(f"the picture is {width}x{height}, too long and thin; cut it to at most {MAX_ASPECT}:1")


def _to_rgb(image: Image.Image) -> Image.Image:
    from PIL import Image

    if image.mode.startswith("I"):  # 16 bits to a pixel; Pillow's own conversion would clip them
        return Image.fromarray((np.array(image).astype(np.int64) // 257).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        background = Image.new("RGBA", image.size, (*BACKGROUND, 255))
        return Image.alpha_composite(background, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")
