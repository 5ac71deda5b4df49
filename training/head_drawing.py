"""The still part of a head: skin, ears, nose, beard and the traces of age.

This module knows the resting face. The eyes, brows and mouth move and are drawn elsewhere.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from avacast.training.colour import from_hex, mix, shade
from avacast.training.hair import draw_front_hair, draw_hat
from avacast.training.identity import Identity
from avacast.training.shapes import Canvas, ellipse, glow, intersect, segment, smoothstep, subtract, union


def face_shape(identity: Identity, x: Tensor, y: Tensor) -> Tensor:
    """Distance to the outline of the face without ears; x from its middle."""
    cranium = ellipse(x, y - 108, identity.face_width - 1.5, 65)
    jaw = ellipse(x, y - 150, identity.jaw_width - 1.5, identity.face_length - 150 - 1)
    return union(cranium, jaw, 20)


def draw_head(identity: Identity, canvas: Canvas) -> None:
    """Paints the head on a transparent canvas."""
    x, y = canvas.x - 128, canvas.y
    face = face_shape(identity, x, y)
    if identity.hair_style != "headscarf":
        _draw_ears(identity, canvas, x, y)
    canvas.paint(identity.skin, canvas.cover(face))
    _draw_light(identity, canvas, x, y, face)
    _draw_nose(identity, canvas, x, y)
    _draw_age(identity, canvas, x, y)
    _draw_freckles(identity, canvas, x, y)
    _draw_beard(identity, canvas, x, y, face)
    if identity.glasses != "none":
        temple = segment(x.abs(), y - identity.eye_y, (46, -3), (identity.face_width + 2, -6), 1.5)
        canvas.tint(identity.glasses_colour, canvas.cover(temple))
    draw_front_hair(identity, canvas)
    draw_hat(identity, canvas)


def _draw_ears(identity: Identity, canvas: Canvas, x: Tensor, y: Tensor) -> None:
    skin, size = identity.skin, identity.ear_size
    ear_x = x.abs() - identity.face_width
    ear = ellipse(ear_x + 0.12 * (y - 122), y - 122, 9.5 * size, 14 * size)
    canvas.paint(shade(skin, 0.95), canvas.cover(ear))
    canvas.tint(shade(skin, 0.72), 0.6 * canvas.cover(ear + 4.5, 4) * canvas.cover(1 - ear_x, 3))
    if identity.earrings:
        canvas.paint(from_hex("e2b84f"), canvas.cover(torch.hypot(ear_x - 1, y - 122 - 15 * size) - 3.2))


def _draw_light(identity: Identity, canvas: Canvas, x: Tensor, y: Tensor, face: Tensor) -> None:
    """Light from the upper left: a warm rim of shade, blush, sockets and highlights."""
    skin = identity.skin
    warm_shade = mix(shade(skin, 0.66), from_hex("9a3b2f"), 0.18)
    light = mix(shade(skin, 1.45), from_hex("ffe2c8"), 0.3)
    rim = torch.exp((face / 11).clamp(-8, 0)) * (0.30 + 0.34 * smoothstep(x + 0.4 * (y - 120), -40, 70))
    canvas.tint(warm_shade, rim)
    canvas.tint(warm_shade, 0.16 * smoothstep(x, 4, 70))
    canvas.tint(light, 0.34 * glow(x + 16, y - 82, 34, 22))
    blush = mix(skin, from_hex("d9484a"), 0.55)
    for side in (-1, 1):
        canvas.tint(warm_shade, 0.20 * glow(x - side * identity.eye_spacing, y - identity.eye_y + 3, 20, 13))
        canvas.tint(blush, (0.25 + 0.5 * identity.blush) * glow(x - side * 38, y - 147, 15, 11))
        canvas.tint(light, 0.22 * glow(x - side * 33 + 4, y - 134, 13, 6))
    canvas.tint(light, 0.25 * glow(x + 3, y - identity.face_length + 13, 13, 6))


def _draw_nose(identity: Identity, canvas: Canvas, x: Tensor, y: Tensor) -> None:
    skin, width, tip = identity.skin, identity.nose_width, identity.nose_length
    dark = mix(shade(skin, 0.58), from_hex("8a2f2a"), 0.2)
    light = shade(skin, 1.6)
    canvas.tint(dark, 0.24 * glow(x - 6, y - tip + 20, 4.5, 20))
    canvas.tint(dark, 0.20 * glow(x - 0.55 * width, y - tip, 0.55 * width, 8))
    canvas.tint(dark, 0.50 * glow(x - 1, y - tip - 6, 0.9 * width, 3.4))
    wing = ellipse(x.abs() - 0.62 * width, y - tip, 0.36 * width, 4.6)
    canvas.tint(dark, 0.55 * canvas.cover(wing.abs() - 0.7, 1.6) * smoothstep(x.abs(), 0.62 * width, 0.85 * width))
    nostril = ellipse(x.abs() - 0.40 * width, y - tip - 3.6 + 0.12 * x.abs(), 0.24 * width, 1.7)
    canvas.tint(shade(dark, 0.6), 0.75 * canvas.cover(nostril, 1.6))
    canvas.tint(light, 0.5 * glow(x + 2.5, y - tip + 3.5, 0.32 * width, 3.6))
    canvas.tint(light, 0.26 * glow(x + 1.5, y - tip + 22, 2.6, 15))


def _draw_age(identity: Identity, canvas: Canvas, x: Tensor, y: Tensor) -> None:
    """Folds beside the nose for everyone, stronger with age, and lines on an old forehead."""
    dark = mix(shade(identity.skin, 0.62), from_hex("8a2f2a"), 0.15)
    across = x.abs()
    fold = segment(across, y, (15, identity.nose_length - 2), (36, identity.mouth_y - 9), 0.4)
    canvas.tint(dark, (0.03 + 0.30 * identity.age) * canvas.cover(fold, 4.5))
    bag = (y - identity.eye_y - 14 + 0.02 * (across - identity.eye_spacing) ** 2).abs() - 0.3
    old = max(0.0, identity.age - 0.35)
    canvas.tint(dark, 0.8 * old * canvas.cover(bag, 3) * canvas.cover((across - identity.eye_spacing).abs() - 10, 6))
    for height in (76, 84):
        line = (y - height - 0.004 * x * x).abs() - 0.3
        canvas.tint(dark, 0.6 * old * canvas.cover(line, 2.6) * canvas.cover(across - 28, 12))
    crow = segment(across, y - identity.eye_y, (identity.eye_spacing + 21, 0), (identity.eye_spacing + 28, 3), 0.3)
    canvas.tint(dark, 0.8 * old * canvas.cover(crow, 2.4))


def _draw_freckles(identity: Identity, canvas: Canvas, x: Tensor, y: Tensor) -> None:
    if identity.freckles == 0.0:
        return
    rng = np.random.default_rng(identity.texture_seed)
    dark = mix(identity.skin, from_hex("8a4a2a"), 0.6)
    for _ in range(int(26 * identity.freckles)):
        spot_x = rng.choice((-1, 1)) * rng.normal(30, 11)
        spot_y = rng.normal(137, 5)
        spot = torch.hypot(x - spot_x, y - spot_y) - rng.uniform(0.6, 1.1)
        canvas.tint(dark, 0.5 * canvas.cover(spot, 1.6))


def _draw_beard(identity: Identity, canvas: Canvas, x: Tensor, y: Tensor, face: Tensor) -> None:
    if identity.beard == "none":
        return
    shape = _beard_shape(identity, x, y, face)
    # A margin of skin around the lips keeps the mouth readable.
    lips = ellipse(x, y - identity.mouth_y - 1, 0.5 * identity.mouth_width + 1, 8.5)
    shape = subtract(shape, lips)
    colour = mix(identity.hair_colour, shade(identity.skin, 0.5), 0.15)
    if identity.beard == "stubble":
        canvas.tint(mix(identity.hair_colour, shade(identity.skin, 0.6), 0.3), 0.34 * canvas.cover(shape, 9))
        return
    coverage = canvas.cover(shape, 2.2)
    canvas.paint(colour, coverage)
    lock = torch.sin(x * 0.55 + 0.1 * torch.sin(y * 0.4))
    canvas.tint(shade(colour, 0.75), 0.35 * coverage * smoothstep(lock, 0.1, 1.0))
    canvas.tint(shade(colour, 1.2), 0.4 * coverage * glow(x + 24, y - 186, 18, 14))


def _beard_shape(identity: Identity, x: Tensor, y: Tensor, face: Tensor) -> Tensor:
    across, top = x.abs(), identity.nose_length + 8.5
    moustache = segment(across, y, (4, top + 2.5), (29, identity.mouth_y - 6), 4.4)
    if identity.beard == "moustache":
        return moustache
    if identity.beard == "goatee":
        chin = ellipse(x, y - identity.face_length + 13, 25, 17)
        return union(moustache, chin)
    rise = smoothstep(across, 20, identity.jaw_width + 4)
    cheek_line = identity.mouth_y - 9 - 36 * rise**2
    grown = 0.5 if identity.beard == "stubble" else 3.5
    below = intersect(face - grown, cheek_line - y)
    return union(below, moustache, 3)
