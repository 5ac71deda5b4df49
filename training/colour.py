"""Colours as triples of 0..1 and the few sums done with them. No pixels here."""

from __future__ import annotations

Colour = tuple[float, float, float]

WHITE: Colour = (1.0, 1.0, 1.0)


def from_hex(code: str) -> Colour:
    """`"e8b89a"` as a triple."""
    assert len(code) == 6, code
    red, green, blue = (int(code[i : i + 2], 16) / 255 for i in (0, 2, 4))
    return red, green, blue


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """`a` with a `share` (0..1) of `b` in it."""
    red, green, blue = (x + (y - x) * share for x, y in zip(a, b, strict=True))
    return red, green, blue


def shade(colour: Colour, factor: float) -> Colour:
    """Darker below a factor of 1, lighter (towards white) above."""
    if factor > 1:
        return mix(colour, WHITE, min(factor - 1, 1.0))
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def luma(colour: Colour) -> float:
    """Perceived brightness, 0..1 (Rec. 601 weights)."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
