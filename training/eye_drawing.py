"""The moving upper face: eyes, lids, brows and glasses, drawn for a batch of frames.

This module knows how an eye looks at a given gaze and blink. It does not know where the head is.
"""

from __future__ import annotations

import torch
from torch import Tensor

from avacast.training.colour import WHITE, from_hex, mix, shade
from avacast.training.identity import Identity
from avacast.training.shapes import Canvas, ellipse, rounded_box, segment, smoothstep

EYES_BOX = (-64.0, -36.0, 64.0, 32.0)
"""Left, top, right, bottom of what is drawn here, in points from the middle of the face and the eyes' height."""


def draw_eyes(identity: Identity, canvas: Canvas, x: Tensor, y: Tensor, tracks: dict[str, Tensor]) -> None:
    """Paints eyes, brows and glasses; `x`, `y` are points from the middle of the face and the eyes' height."""
    side = torch.sign(x)
    outward = x.abs() - identity.eye_spacing
    height = y + identity.eye_tilt * outward
    _draw_eye(identity, canvas, outward, height, side, tracks)
    _draw_brow(identity, canvas, outward, y, tracks["brow"])
    if identity.glasses != "none":
        _draw_glasses(identity, canvas, x, y)


def _draw_eye(
    identity: Identity, canvas: Canvas, outward: Tensor, y: Tensor, side: Tensor, tracks: dict[str, Tensor]
) -> None:
    """Both eyes at once: `outward` grows towards the temple on either side."""
    share = outward / identity.eye_width
    arch = (1 - share * share).clamp_min(0)
    upper_open = -identity.eye_height * arch.pow(0.72)
    lower = 0.55 * identity.eye_height * arch.pow(0.85)
    upper = torch.lerp(upper_open, 0.8 * lower, tracks["blink"])
    ends = outward.abs() - identity.eye_width
    socket = canvas.cover(torch.maximum(torch.maximum(upper_open - y, y - lower), ends))
    canvas.tint(mix(shade(identity.skin, 0.88), from_hex("b06050"), 0.12), socket)
    opened = canvas.cover(torch.maximum(torch.maximum(upper - y, y - lower), ends))
    _draw_eyeball(identity, canvas, outward * side, y, opened, y - upper, tracks)
    _draw_lids(identity, canvas, outward, y, upper, upper_open, lower)


def _draw_eyeball(
    identity: Identity,
    canvas: Canvas,
    x: Tensor,
    y: Tensor,
    opened: Tensor,
    below_lid: Tensor,
    tracks: dict[str, Tensor],
) -> None:
    canvas.paint(from_hex("f8f4ee"), opened)
    radius = 0.96 * identity.eye_height
    u = x - 0.34 * identity.eye_width * tracks["gaze_x"]
    v = y + 0.07 * identity.eye_height - 0.30 * identity.eye_height * tracks["gaze_y"]
    reach = torch.hypot(u, v)
    colour = identity.eye_colour
    canvas.paint(shade(colour, 0.62), opened * canvas.cover(reach - radius))
    canvas.paint(colour, opened * canvas.cover(reach - 0.82 * radius, 1.6))
    canvas.paint(
        shade(colour, 1.3), 0.65 * opened * canvas.cover(torch.hypot(u, v - 0.4 * radius) - 0.42 * radius, 3.5)
    )
    canvas.paint(from_hex("17110f"), opened * canvas.cover(reach - 0.46 * radius))
    canvas.paint(from_hex("4a3a3a"), 0.34 * opened * torch.exp(-(below_lid.clamp_min(0) / 3.2)))
    canvas.paint(WHITE, 0.95 * opened * canvas.cover(torch.hypot(u + 0.34 * radius, v + 0.36 * radius) - 0.25 * radius))
    canvas.paint(WHITE, 0.4 * opened * canvas.cover(torch.hypot(u - 0.36 * radius, v - 0.36 * radius) - 0.14 * radius))


def _draw_lids(
    identity: Identity, canvas: Canvas, outward: Tensor, y: Tensor, upper: Tensor, upper_open: Tensor, lower: Tensor
) -> None:
    """Lash line, crease and a hint of the lower lid."""
    width, lashes = identity.eye_width, identity.lashes
    within = canvas.cover(outward.abs() - width - 0.5)
    dark = mix(shade(identity.skin, 0.4), from_hex("2a1a18"), 0.75)
    weight = 0.9 + 0.75 * lashes * smoothstep(outward, -0.5 * width, width)
    canvas.tint(dark, within * canvas.cover((y - upper).abs() - weight, 1.3))
    if lashes > 0.45:
        wing = segment(outward, y, (width - 2, -1.0), (width + 3.0, -4.0), 0.6)
        canvas.tint(dark, canvas.cover(wing))
    crease = (y - upper_open + 4.2).abs() - 0.35
    canvas.tint(
        shade(identity.skin, 0.62), 0.5 * canvas.cover(crease, 1.6) * canvas.cover(outward.abs() - width + 2, 3)
    )
    canvas.tint(shade(identity.skin, 0.55), 0.4 * within * canvas.cover((y - lower).abs() - 0.3, 1.5))


def _draw_brow(identity: Identity, canvas: Canvas, outward: Tensor, y: Tensor, brow: Tensor) -> None:
    along = (outward + 17.5) / 38
    arc = 4 * (along - 0.58) ** 2
    middle = -identity.brow_height - 5 * brow + identity.brow_arch * (arc - 0.35)
    # A lowered brow dips towards the nose, a raised one lifts evenly.
    middle = middle - 3 * brow.clamp_max(0) * (1 - along).clamp_min(0)
    half = identity.brow_thickness * (1.05 - 0.72 * along.clamp(0, 1)) * smoothstep(along, -0.05, 0.12)
    shape = torch.maximum((y - middle).abs() - half, (outward - 1.5).abs() - 19)
    canvas.tint(identity.brow_colour, 0.92 * canvas.cover(shape, 1.5))


def _draw_glasses(identity: Identity, canvas: Canvas, x: Tensor, y: Tensor) -> None:
    across = x.abs() - identity.eye_spacing - 0.5
    round_lens = identity.glasses == "round"
    lens = ellipse(across, y - 1, 21.5, 20) if round_lens else rounded_box(across, y - 1, 21.5, 16, 7)
    inside = canvas.cover(lens)
    canvas.tint(WHITE, 0.05 * inside)
    glare = (across + 0.7 * y + 4).abs() - 4
    canvas.tint(WHITE, 0.13 * inside * canvas.cover(glare, 2.5))
    thickness = 1.3
    if identity.glasses == "browline":
        frame = torch.maximum(lens.abs() - 2.6, y + 4)
        canvas.tint(identity.glasses_colour, canvas.cover(frame))
        thickness = 0.7
    canvas.tint(identity.glasses_colour, canvas.cover(lens.abs() - thickness))
    bridge = torch.maximum((y + 3 - 0.03 * x * x).abs() - 1.2, x.abs() - identity.eye_spacing + 20.5)
    canvas.tint(identity.glasses_colour, canvas.cover(bridge))
