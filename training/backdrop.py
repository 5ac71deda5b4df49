"""What is behind and below the head: the background, the neck and the clothes, as still pictures.

This module knows how each backdrop and garment is drawn. It does not know how they move.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from avacast.training.colour import mix, shade
from avacast.training.identity import Identity
from avacast.training.shapes import Canvas, between, ellipse, glow, intersect, rounded_box, segment, smoothstep, union


def draw_backdrop(identity: Identity, canvas: Canvas) -> None:
    """Fills the whole canvas."""
    first, second = identity.backdrop_colours
    x, y = canvas.x - 128, canvas.y
    everywhere = torch.ones_like(y)
    canvas.paint(first, everywhere)
    if identity.backdrop == "gradient":
        canvas.paint(second, smoothstep(y + 0.25 * x, 0, 256))
    elif identity.backdrop == "disc":
        canvas.paint(shade(mix(first, second, 0.75), 0.94), canvas.cover(torch.hypot(x, y - 128) - 116))
    elif identity.backdrop == "spots":
        _draw_spots(identity, canvas)
    elif identity.backdrop == "horizon":
        canvas.paint(second, smoothstep(y, 150, 176) * 0.85)
    vignette = smoothstep(torch.hypot(x, y - 120), 90, 210)
    canvas.tint(shade(mix(first, second, 0.5), 0.72), 0.28 * vignette)
    canvas.tint(shade(first, 1.8), 0.22 * glow(x + 60, y - 40, 110, 100))


def _draw_spots(identity: Identity, canvas: Canvas) -> None:
    """Out-of-focus lights."""
    rng = np.random.default_rng(identity.texture_seed)
    first, second = identity.backdrop_colours
    for _ in range(9):
        centre_x, centre_y, radius = rng.uniform(0, 256), rng.uniform(0, 210), rng.uniform(12, 34)
        distance = torch.hypot(canvas.x - centre_x, canvas.y - centre_y) - radius
        canvas.paint(mix(second, shade(first, 1.5), rng.uniform(0, 1)), 0.35 * canvas.cover(distance, 5))


def draw_body(identity: Identity, canvas: Canvas) -> None:
    """Neck, shoulders and clothes."""
    x, y = canvas.x - 128, canvas.y
    neck = intersect(x.abs() - _neck_half_width(identity, y), 165 - y)
    torso = _shoulder_line(x) - y
    opening = _neck_opening(identity, x, y)
    skin = identity.skin
    canvas.paint(shade(skin, 0.94), canvas.cover(union(neck, intersect(torso, opening), 4)))
    canvas.tint(shade(skin, 0.62), 0.55 * smoothstep(-y, -(identity.face_length + 20), -(identity.face_length - 2)))
    canvas.tint(shade(skin, 0.6), 0.35 * smoothstep(x, 8, 44))
    cloth = torch.maximum(torso, -opening)
    _draw_garment(identity, canvas, cloth, opening, -neck)
    if identity.hair_style == "headscarf":
        _draw_drape(identity, canvas)


def _neck_half_width(identity: Identity, y: Tensor) -> Tensor:
    return 0.60 * identity.jaw_width + 18 * smoothstep(y, 205, 250) ** 2


def _shoulder_line(x: Tensor) -> Tensor:
    """The height of the shoulders' outline above each x."""
    reach = (x.abs() / 128).clamp_max(1.2)
    return 219 + 30 * reach**1.8


def _neck_opening(identity: Identity, x: Tensor, y: Tensor) -> Tensor:
    if identity.garment == "turtleneck":
        return y - 180
    if identity.garment in ("vee", "blazer", "collar"):
        return 0.86 * (x.abs() * 1.15 + (y - 266) * 0.72)
    return ellipse(x, y - 214, 40, 24)


def _draw_garment(identity: Identity, canvas: Canvas, cloth: Tensor, opening: Tensor, neck: Tensor) -> None:
    x, y = canvas.x - 128, canvas.y
    colour = identity.garment_colour
    canvas.tint(shade(identity.skin, 0.6), 0.5 * canvas.cover(torch.maximum(-opening - 3, cloth - 4), 6))
    if identity.garment == "hoodie":
        hood = ellipse(x, y - 222, 72, 27)
        canvas.paint(shade(colour, 0.62), canvas.cover(torch.maximum(hood, neck)))
        cloth = union(cloth, torch.maximum(hood, -ellipse(x, y - 211, 46, 28)), 3)
    coverage = canvas.cover(cloth)
    canvas.paint(colour, coverage)
    if identity.garment == "stripes":
        wave = torch.cos((y + 0.0011 * x * x) * 0.52)
        canvas.paint(identity.second_colour, coverage * (wave * 3.2).clamp(0, 1))
    canvas.paint(shade(colour, 0.78), coverage * 0.55 * smoothstep(x + 0.3 * (y - 220), 10, 120))
    canvas.paint(shade(colour, 1.35), coverage * 0.35 * glow(x + 74, y - 238, 40, 18))
    _draw_trim(identity, canvas, cloth, opening)


def _draw_trim(identity: Identity, canvas: Canvas, cloth: Tensor, opening: Tensor) -> None:
    """Hems, collars and lapels."""
    x, y = canvas.x - 128, canvas.y
    colour, second = identity.garment_colour, identity.second_colour
    if identity.garment in ("crew", "stripes", "vee"):
        canvas.paint(shade(colour, 0.82), canvas.cover(torch.maximum(opening.abs() - 3, cloth)))
    elif identity.garment == "turtleneck":
        roll = rounded_box(x, y - 217, 0.60 * identity.jaw_width + 5, 11, 7)
        canvas.paint(shade(colour, 1.06), canvas.cover(roll))
        canvas.paint(shade(colour, 0.75), 0.5 * canvas.cover((y - 227).abs() - 0.8) * canvas.cover(x.abs() - 36, 6))
    elif identity.garment == "hoodie":
        for side in (-1, 1):
            cord = segment(x, y, (side * 20, 234), (side * 23, 262), 1.6)
            canvas.paint(shade(second, 1.3), canvas.cover(cord))
    elif identity.garment == "collar":
        flap = intersect(between(y, 206 + 0.42 * x.abs(), 232 - 0.25 * (x.abs() - 20).abs() * 1.6), x.abs() - 46)
        canvas.paint(shade(colour, 0.7), 0.5 * canvas.cover(torch.maximum(flap - 2, 14 - x.abs()), 4))
        canvas.paint(shade(colour, 1.25), canvas.cover(torch.maximum(flap, 14 - x.abs())))
    elif identity.garment == "blazer":
        shirt = torch.maximum(opening.abs() - 7, cloth)
        canvas.paint(shade(second, 1.5), canvas.cover(shirt))
        lapel = torch.maximum((opening - 16).abs() - 9, cloth)
        canvas.paint(shade(colour, 0.86), canvas.cover(lapel))


def _draw_drape(identity: Identity, canvas: Canvas) -> None:
    """The part of a headscarf that lies on neck and shoulders."""
    x, y = canvas.x - 128, canvas.y
    colour = identity.hat_colour
    drape = union(ellipse(x, y - 222, 66, 34), rounded_box(x, y - 190, 54, 34, 10), 12)
    coverage = canvas.cover(drape)
    canvas.paint(shade(colour, 0.9), coverage)
    canvas.paint(shade(colour, 0.7), coverage * 0.5 * smoothstep(torch.sin(x * 0.13 + y * 0.1), 0.4, 1.0))
