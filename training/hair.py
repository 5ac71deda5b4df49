"""Hair, headscarves and hats, as still pictures: one part behind the head and one in front.

This module knows the outline of every style. It does not know the face below, beyond its width, nor any motion.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from avacast.training.colour import Colour, luma, mix, shade
from avacast.training.identity import Identity
from avacast.training.shapes import Canvas, ellipse, glow, intersect, rounded_box, smoothstep, subtract, union


def has_back_hair(identity: Identity) -> bool:
    """Whether anything of the hair shows behind the neck or beyond the head's own outline."""
    return identity.hair_style in ("afro", "long", "wavy", "bob", "fringe", "bun", "pigtails")


def draw_back_hair(identity: Identity, canvas: Canvas) -> None:
    """What hangs or stands behind the head."""
    x, y = canvas.x - 128, canvas.y
    colour = identity.hair_colour
    coverage = canvas.cover(_back_shape(identity, x, y))
    canvas.paint(shade(colour, 0.92 if identity.hair_style == "afro" else 0.74), coverage)
    _draw_strands(canvas, coverage, colour, x * 0.55 + 0.02 * y)
    canvas.tint(shade(colour, 0.5), 0.6 * coverage * glow(x, y - 190, 52, 60))


def _back_shape(identity: Identity, x: Tensor, y: Tensor) -> Tensor:
    width, volume = identity.face_width, identity.hair_volume
    style = identity.hair_style
    if style == "afro":
        return _bumps(x, y, 94, width + 17 + 6 * volume, 70 + 5 * volume, 22, 12)
    if style == "bun":
        return torch.hypot(x, y - 27) - (19 + 4 * volume)
    if style == "pigtails":
        return ellipse(x.abs() - width - 10, y - 146, 17 + 5 * volume, 38 + 6 * volume)
    if style in ("bob", "fringe"):
        return rounded_box(x, y - 122, width + 10 + 6 * volume, 76 + 6 * volume, 52)
    wave = 3.5 * torch.sin(y * 0.13) * smoothstep(y, 90, 130) if style == "wavy" else 0.0
    hang = 9 + 9 * volume
    return rounded_box(x + wave, y - 200, width + hang, 130, 60)


def draw_front_hair(identity: Identity, canvas: Canvas) -> None:
    """What frames and covers the forehead, with its shadow on the skin."""
    if identity.hair_style == "bald":
        return
    x, y = canvas.x - 128, canvas.y
    if identity.hair_style == "headscarf":
        _draw_scarf(identity, canvas, x, y)
        return
    shape = _front_shape(identity, x, y)
    colour = identity.hair_colour
    if identity.hair_style == "buzz":
        canvas.tint(mix(colour, identity.skin, 0.25), 0.85 * canvas.cover(shape, 5))
        return
    canvas.tint(shade(identity.skin, 0.55), 0.3 * canvas.cover(shape - 3, 9))
    coverage = canvas.cover(shape)
    canvas.paint(colour, coverage)
    angle = torch.atan2(x - identity.hair_side * 18, y - 20 + 0.12 * x.abs())
    _draw_strands(canvas, coverage, colour, angle * 30)
    crown = ellipse(x + 14, y - 112, identity.face_width - 12, 58)
    canvas.tint(shade(colour, 1.35 if luma(colour) > 0.25 else 1.22), 0.5 * coverage * glow(crown, x + 14, 6, 40))
    canvas.tint(shade(colour, 0.6), 0.5 * coverage * smoothstep(x, 30, 85))


def _front_shape(identity: Identity, x: Tensor, y: Tensor) -> Tensor:
    """Cap of hair minus the opening that leaves the face free."""
    width, volume = identity.face_width, identity.hair_volume
    style = identity.hair_style
    margin, top = {
        "buzz": (1.0, 40.0), "crop": (4, 37), "side_part": (5, 34), "quiff": (4, 36), "bun": (3, 37),
        "pigtails": (5, 35), "afro": (8, 30),
    }.get(style, (7.0, 33.0))  # fmt: skip
    top -= 5 * volume
    cap = ellipse(x, y - 112, width + margin + 2 * volume, 112 - top)
    if style == "curly":
        cap = _bumps(x, y, 104, width + 3 + 4 * volume, 68 + 4 * volume, 17, 14)
    elif style == "quiff":
        cap = union(cap, ellipse(x - identity.hair_side * 9, y - 46, 48, 20 + 5 * volume), 14)
    hang = {"long": 320.0, "wavy": 320.0, "bob": 190.0, "fringe": 186.0, "curly": 132.0, "afro": 134.0}.get(
        style, 123.0
    )
    if style in ("long", "wavy", "bob", "fringe"):
        cap = union(cap, rounded_box(x, y - 0.5 * (100 + hang), width + margin + 2 * volume, 0.5 * (hang - 100), 16), 6)
    # Above the temples the opening stays within the skull, or the backdrop would show between hair and skin.
    skull = torch.minimum(ellipse(x, y - 108, width - 5, 62), 116 - y)
    opening = intersect(_face_opening(identity, x, y), skull)
    return intersect(subtract(cap, opening), y - hang)


def _face_opening(identity: Identity, x: Tensor, y: Tensor) -> Tensor:
    width, side, style = identity.face_width, identity.hair_side, identity.hair_style
    hair_line = 73 - 11 * identity.hair_line
    if style == "fringe":
        # The fringe ends above the brows, its corners rounded.
        return union(rounded_box(x, y - 180, width - 11, 97, 14), rounded_box(x, y - 262, width - 9, 120, 30), 8)
    if style in ("side_part", "quiff", "crop"):
        skew = {"side_part": 0.24, "quiff": 0.10, "crop": 0.0}[style] * side
        slanted = y - hair_line - 84 - skew * x - (3 * torch.sin(x * 0.35) if style == "crop" else 0.0)
        return rounded_box(x, slanted, width - 4, 84, 30)
    if style in ("long", "wavy", "bob", "bun"):
        # Two arcs that meet in a parting.
        part = side * 12 if style != "bun" else 0.0
        sway = 2.5 * torch.sin(y * 0.11) if style == "wavy" else 0.0
        near = ellipse(x - part, y - hair_line - 88, width - 9 + sway, 96)
        opening = union(near, ellipse(x, y - 156, width - 8 + sway, 70), 8)
        return union(opening, rounded_box(x, y - 300, width - 10 + sway, 140, 40), 8)
    if style in ("curly", "afro"):
        return ellipse(x, y - 146, width - 6 + 2.5 * torch.cos(y * 0.3), 146 - hair_line + 2.5 * torch.cos(x * 0.32))
    return ellipse(x, y - 152, width - 2, 152 - hair_line)


def _bumps(x: Tensor, y: Tensor, centre_y: float, radius_x: float, radius_y: float, count: int, size: float) -> Tensor:
    """An ellipse whose rim is a ring of curls."""
    shape = ellipse(x, y - centre_y, radius_x, radius_y)
    for i in range(count):
        angle = 2 * math.pi * (i + 0.5) / count
        curl = torch.hypot(x - radius_x * 0.93 * math.sin(angle), y - centre_y + radius_y * 0.93 * math.cos(angle))
        shape = torch.minimum(shape, curl - size)
    return shape


def _draw_strands(canvas: Canvas, coverage: Tensor, colour: Colour, phase: Tensor) -> None:
    """Broad locks rather than single hairs: they survive compression."""
    lock = torch.sin(phase) + 0.6 * torch.sin(phase * 0.37 + 1.3)
    canvas.tint(shade(colour, 0.72), 0.35 * coverage * smoothstep(lock, 0.2, 1.5))
    canvas.tint(shade(colour, 1.18), 0.25 * coverage * smoothstep(-lock, 0.2, 1.5))


def _draw_scarf(identity: Identity, canvas: Canvas, x: Tensor, y: Tensor) -> None:
    colour = identity.hat_colour
    outer = union(ellipse(x, y - 114, identity.face_width + 11, 84), ellipse(x, y - 176, identity.face_width, 58), 10)
    opening = union(
        ellipse(x, y - 128, identity.face_width - 7, 66), ellipse(x, y - 156, identity.jaw_width - 1, 48), 14
    )
    shape = subtract(outer, opening)
    canvas.tint(shade(identity.skin, 0.55), 0.35 * canvas.cover(shape - 3, 9))
    coverage = canvas.cover(shape)
    canvas.paint(colour, coverage)
    fold = torch.sin(outer * 0.42 + 0.03 * x)
    canvas.tint(shade(colour, 0.75), 0.45 * coverage * smoothstep(fold, 0.2, 1.0))
    canvas.tint(shade(colour, 1.3), 0.4 * coverage * glow(x + 34, y - 52, 34, 18))
    canvas.tint(shade(colour, 0.65), 0.5 * coverage * smoothstep(x, 20, 85))


def draw_hat(identity: Identity, canvas: Canvas) -> None:
    """A beanie, a brimmed hat or a headband over the hair; nothing for most people."""
    x, y = canvas.x - 128, canvas.y
    colour, width = identity.hat_colour, identity.face_width
    if identity.hat == "beanie":
        dome = intersect(ellipse(x, y - 92, width + 8, 70), y - 84)
        _paint_cloth(canvas, colour, dome, torch.sin(x * 0.5))
        _paint_cloth(
            canvas, shade(colour, 0.88), rounded_box(x, y - 77 + 0.0012 * x * x, width + 9, 11, 9), torch.sin(x)
        )
    elif identity.hat == "brim":
        crown = union(rounded_box(x, y - 52, width - 6, 34, 22), rounded_box(x, y - 70, width, 14, 6), 8)
        _paint_cloth(canvas, colour, crown, torch.zeros_like(x))
        _paint_cloth(canvas, shade(colour, 0.6), intersect(crown, (y - 68).abs() - 6), torch.zeros_like(x))
        _paint_cloth(canvas, shade(colour, 0.93), ellipse(x, y - 77 + 0.0008 * x * x, 100, 9), torch.zeros_like(x))
    elif identity.hat == "headband":
        band = intersect((y - 62 - 0.004 * x * x).abs() - 6.5, ellipse(x, y - 112, width + 9, 82))
        _paint_cloth(canvas, colour, band, torch.zeros_like(x))


def _paint_cloth(canvas: Canvas, colour: Colour, shape: Tensor, rib: Tensor) -> None:
    x, y = canvas.x - 128, canvas.y
    canvas.tint((0.1, 0.06, 0.06), 0.22 * canvas.cover(shape - 2, 7))
    coverage = canvas.cover(shape)
    canvas.paint(colour, coverage)
    canvas.tint(shade(colour, 0.8), 0.4 * coverage * smoothstep(rib, 0.0, 1.0))
    canvas.tint(shade(colour, 1.3), 0.4 * coverage * glow(x + 26, y - 50, 34, 40))
    canvas.tint(shade(colour, 0.62), 0.55 * coverage * smoothstep(x, 10, 90))
