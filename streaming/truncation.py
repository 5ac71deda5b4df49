"""Whether a sound file was cut short, where its container says how long it should be and the decoder stays silent.

It reads a few bytes of headers and trailers of WAV, MP3 and Ogg; it knows nothing of decoding. Whatever it does not
recognise it calls whole, and leaves the verdict to the decoder.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

_MAX_RIFF_CHUNKS = 1_000
_UNKNOWN_SIZES = (0, 0xFFFF_FFFF)
"""What a WAV writer leaves in the header when it could not go back and fill it in."""

_MAX_OGG_PAGE_BYTES = 65_307


def is_cut_short(path: Path) -> bool:
    """True where the file ends before its own headers say. Raises OSError when it cannot be read."""
    with path.open("rb") as stream:
        magic = stream.read(4)
        stream.seek(0)
        if magic == b"RIFF":
            return _wav_is_cut(stream, path.stat().st_size)
        if magic == b"OggS":
            return _ogg_is_cut(stream, path.stat().st_size)
    return False


def states_length(path: Path) -> bool:
    """True unless the length that a decoder names is only an estimate: an MP3 without a Xing, Info or VBRI header."""
    with path.open("rb") as stream:
        head = stream.read(10)
        if head[:3] == b"ID3" and len(head) == 10:
            # ID3v2's length: four bytes of seven bits each.
            size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
            stream.seek(10 + size)
        elif head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xE0 == 0xE0:
            stream.seek(0)
        else:
            return True
        first_frame = stream.read(256)
    return any(tag in first_frame for tag in (b"Xing", b"Info", b"VBRI"))


def _wav_is_cut(stream: BinaryIO, num_bytes: int) -> bool:
    stream.seek(12)
    for _ in range(_MAX_RIFF_CHUNKS):
        header = stream.read(8)
        if len(header) < 8:
            return True
        name, size = struct.unpack("<4sI", header)
        if name == b"data":
            return size not in _UNKNOWN_SIZES and stream.tell() + size > num_bytes
        # Chunks are padded to an even length.
        stream.seek(size + size % 2, 1)
    return True


def _ogg_is_cut(stream: BinaryIO, num_bytes: int) -> bool:
    start = max(0, num_bytes - _MAX_OGG_PAGE_BYTES)
    stream.seek(start)
    tail = stream.read()
    page = tail.rfind(b"OggS")
    if page < 0 or len(tail) < page + 27:
        return True
    num_segments = tail[page + 26]
    lengths = tail[page + 27 : page + 27 + num_segments]
    return len(lengths) < num_segments or page + 27 + num_segments + sum(lengths) > len(tail)
