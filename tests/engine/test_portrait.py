from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from avacast.engine.errors import BadPortrait
from avacast.engine.portrait import Picture, load_portrait


def picture(height: int = 96, width: int = 128) -> Picture:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 255 // height, columns * 255 // width, (rows + columns) % 256], axis=-1).astype(np.uint8)


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that declares a size and holds next to nothing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b""))
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_reads_png_jpeg_and_webp_from_bytes_and_from_a_file(kind: str, tmp_path: Path):
    options = {"lossless": True} if kind == "WEBP" else {}
    content = saved(Image.fromarray(picture()), kind, **options)
    path = tmp_path / "face"
    path.write_bytes(content)
    for source in (content, path, str(path)):
        loaded = load_portrait(source)
        assert loaded.dtype == np.uint8
        assert np.abs(loaded.astype(int) - picture()).mean() < (8 if kind == "JPEG" else 0.01)


def test_turns_a_picture_the_way_its_camera_was_held():
    exif = Image.Exif()
    exif[0x0112] = 6
    loaded = load_portrait(saved(Image.fromarray(picture()), exif=exif))
    assert np.array_equal(loaded, np.rot90(picture(), -1))


def test_shows_transparent_parts_on_white():
    image = Image.fromarray(picture()).convert("RGBA")
    image.putalpha(0)
    assert (load_portrait(saved(image)) == 255).all()
    palette = Image.fromarray(picture()).quantize(16)
    see_through = np.array(palette) == 3
    loaded = load_portrait(saved(palette, transparency=3))
    assert (loaded[see_through] == 255).all()
    assert (loaded[~see_through] == np.array(palette.convert("RGB"))[~see_through]).all()


@pytest.mark.parametrize("mode", ["L", "LA", "P", "CMYK", "1", "I;16"])
def test_reads_every_usual_pixel_format_as_rgb(mode: str):
    grey = Image.new("L", (64, 64), 128)
    if mode == "I;16":
        grey = Image.fromarray(np.full((64, 64), 128 * 257, np.uint16))
    elif mode == "1":
        grey = Image.new("L", (64, 64), 255).convert("1")
    else:
        grey = grey.convert(mode)
    loaded = load_portrait(saved(grey, "JPEG" if mode == "CMYK" else "PNG"))
    assert loaded.shape == (64, 64, 3)
    assert np.abs(loaded.astype(int) - (255 if mode == "1" else 128)).max() <= 2


def test_accepts_the_limits_themselves():
    assert load_portrait(saved(Image.new("RGB", (64, 256)))).shape == (256, 64, 3)
    assert load_portrait(saved(Image.new("RGB", (4000, 3000)))).shape == (3000, 4000, 3)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"<!doctype html><title>no</title>", "no PNG, JPEG or WebP"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no PNG, JPEG or WebP"),
        (saved(Image.new("RGB", (64, 64)), "GIF"), "no PNG, JPEG or WebP"),
        (saved(Image.new("RGB", (64, 64)), "TIFF"), "no PNG, JPEG or WebP"),
        (saved(Image.new("RGB", (64, 64)), "BMP"), "no PNG, JPEG or WebP"),
        (png_header(0, 0), "no PNG, JPEG or WebP|each side"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "no PNG, JPEG or WebP"),
        (b"\0" * 10_000_001, "larger than 10 MB"),
        (png_header(50_000, 50_000), "12 megapixels"),
        (png_header(12_000, 12_000), "12 megapixels"),
        (png_header(4_032, 3_101), "12 megapixels"),
        (png_header(63, 64), "63x64"),
        (png_header(4_097, 1_100), "4097x1100"),
        (png_header(1, 100_000), "1x100000"),
        (png_header(64, 257), "too long and thin"),
        (png_header(256, 256), "damaged"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",
)
def test_refuses_in_one_line(content: bytes, reason: str):
    with pytest.raises(BadPortrait, match=reason) as caught:
        load_portrait(content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
def test_refuses_a_picture_that_was_cut_short(kind: str, share: float):
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    content = saved(Image.fromarray(noise), kind)
    with pytest.raises(BadPortrait):
        load_portrait(content[: int(share * len(content))])


def test_refuses_a_png_with_one_flipped_bit():
    content = bytearray(saved(Image.fromarray(picture())))
    content[len(content) // 2] ^= 1
    with pytest.raises(BadPortrait, match="damaged"):
        load_portrait(bytes(content))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_refuses_an_animation(kind: str):
    frames = [Image.new("RGB", (64, 64), (level, 0, 0)) for level in (0, 255)]
    content = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    with pytest.raises(BadPortrait, match="animation"):
        load_portrait(content)


def test_refuses_a_path_with_no_picture(tmp_path: Path):
    with pytest.raises(BadPortrait, match="there is no picture at"):
        load_portrait(tmp_path / "none.png")
    with pytest.raises(BadPortrait, match="cannot be read"):
        load_portrait(tmp_path)
