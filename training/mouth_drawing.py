"""The moving mouth: lips, teeth, tongue and the dark between, drawn for a batch of frames.

This module knows how a mouth looks for given jaw, spread, press, teeth and tongue. It does not know phonemes, nor where
the head is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from avacast.training.colour import Colour, from_hex, mix, shade
from avacast.training.identity import Identity
from avacast.training.shapes import Canvas, ellipse, glow, smoothstep

MOUTH_BOX = (-46.0, -21.0, 46.0, 50.0)
"""Left, top, right, bottom of what is drawn here, in points from the middle of the resting mouth."""

CAVITY: Colour = from_hex("451219")
"""Dark and clearly red, so that it is told from lips by brightness and from a black beard by hue."""
TEETH: Colour = from_hex("f5f0e6")
TONGUE: Colour = from_hex("a8474b")

UPPER_SHARE = 0.18
"""Part of the opening by which the upper lip rises; the rest drops with the jaw."""


@dataclass(frozen=True)
class MouthShape:
    """Sizes of the mouth in points, each `[F, 1, 1]`."""

    gap: Tensor
    """Height of the opening in the middle."""
    half_width: Tensor
    """Outer half width."""
    press: Tensor
    rounding: Tensor
    """0 neutral or spread .. 1 rounded."""


def mouth_shape(identity: Identity, tracks: dict[str, Tensor]) -> MouthShape:
    """How big the mouth is in each frame."""
    spread, jaw, press = tracks["spread"], tracks["jaw"], tracks["press"].clamp(0, 1)
    rounding = (-spread).clamp(0, 1)
    scale = 1 - 0.36 * rounding + 0.13 * spread.clamp(0, 1) - 0.07 * jaw - 0.04 * press
    return MouthShape(
        gap=jaw.clamp_min(0) * (1 - press) * identity.mouth_gap,
        half_width=0.5 * identity.mouth_width * scale,
        press=press,
        rounding=rounding,
    )


def draw_mouth(identity: Identity, canvas: Canvas, x: Tensor, y: Tensor, tracks: dict[str, Tensor]) -> None:
    """Paints the mouth; `x`, `y` are points from the middle of the resting mouth."""
    shape = mouth_shape(identity, tracks)
    share = x / shape.half_width
    # Corners of a smile lift; rounding pulls them straight.
    straight = (1 - 0.8 * shape.rounding) * (1 - 0.6 * (shape.gap / identity.mouth_gap))
    lift = (3.0 + 4.5 * identity.smile) * straight * (share * share).clamp_max(1.3)
    y = y + lift - 0.4 * (3.0 + 4.5 * identity.smile)
    inner = x / (shape.half_width - 3.0 - 1.5 * shape.rounding)
    arch = (1 - inner * inner).clamp_min(0)
    upper = -UPPER_SHARE * shape.gap * arch.pow(0.6)
    lower = (1 - UPPER_SHARE) * shape.gap * arch.pow(0.58 - 0.06 * shape.rounding)
    _draw_lips(identity, canvas, x, y, share, upper, lower, shape)
    inside = _steep_cover(canvas, y, upper, lower, inner.abs() - 1, shape.half_width)
    _draw_inside(canvas, x, y, inside, upper, lower, inner, shape, tracks)
    _draw_seam(identity, canvas, y, upper, lower, share, shape)


def _steep_cover(canvas: Canvas, y: Tensor, top: Tensor, bottom: Tensor, ends: Tensor, half_width: Tensor) -> Tensor:
    """Coverage of the band between two curves that meet at the corners."""
    band = torch.maximum((top - y) * _levelled(top, canvas.pixel), (y - bottom) * _levelled(bottom, canvas.pixel))
    return canvas.cover(torch.maximum(band, ends * half_width))


def _levelled(curve: Tensor, pixel: float) -> Tensor:
    """What turns the vertical distance to a curve y(x) into the shortest one: the cosine of its slope."""
    rise = functional.pad(curve[..., 2:] - curve[..., :-2], (1, 1)) / (2 * pixel)
    return torch.rsqrt(1 + rise * rise)


def _draw_lips(
    identity: Identity, canvas: Canvas, x: Tensor, y: Tensor, share: Tensor, upper: Tensor, lower: Tensor,
    shape: MouthShape,
) -> None:  # fmt: skip
    """Upper lip with its bow, fuller lower lip with light on it, and the shade below."""
    arch = (1 - share * share).clamp_min(0)
    thin = 1 - 0.55 * shape.press
    pout = 1 + 0.22 * shape.rounding
    bow = 1 - 0.22 * torch.exp(-((x / 5.0) ** 2))
    thickness_up = (5.6 + 2.6 * identity.lip_fullness) * thin * pout
    thickness_low = (7.0 + 3.2 * identity.lip_fullness) * thin * pout
    top = upper - thickness_up * arch.pow(0.72) * bow
    bottom = lower + thickness_low * arch.pow(0.62)
    skin, lip = identity.skin, identity.lip_colour
    shadow = glow(x / 22, (y - bottom.amax(dim=-1, keepdim=True) - 3.0) / 4.0, 1, 1)
    canvas.tint(mix(shade(skin, 0.6), from_hex("8a2f2a"), 0.2), 0.38 * shadow)
    canvas.tint(shade(skin, 0.7), 0.35 * glow(share.abs() - 1.03, y / 40, 0.07, 0.09))
    lips = _steep_cover(canvas, y, top, bottom, share.abs() - 1, shape.half_width)
    canvas.paint(lip, lips)
    canvas.paint(shade(lip, 0.82), 0.7 * lips * canvas.cover(y - upper, 2.0))
    light = glow((x + 4) / 15, (y - lower - 0.42 * thickness_low) / 2.2, 1, 1)
    canvas.paint(shade(lip, 1.55), 0.55 * lips * light)
    canvas.paint(shade(lip, 0.8), 0.5 * lips * smoothstep(y - bottom, -3.0, 0.5))


def _draw_inside(
    canvas: Canvas, x: Tensor, y: Tensor, inside: Tensor, upper: Tensor, lower: Tensor,
    inner: Tensor, shape: MouthShape, tracks: dict[str, Tensor],
) -> None:  # fmt: skip
    gap = shape.gap
    canvas.paint(CAVITY, inside)
    depth = y - UPPER_SHARE * -gap
    canvas.paint(shade(CAVITY, 0.62), inside * glow(x / 16, (depth / gap.clamp_min(1) - 0.45) / 0.3, 1, 1))
    _draw_tongue(canvas, x, y, inside, gap, shape.half_width, tracks["tongue"])
    _draw_teeth(canvas, x, y, inside, lower, inner, gap, tracks["teeth"])
    # The lips' own shadow sets teeth and tongue back into the mouth.
    canvas.paint(CAVITY, 0.5 * inside * torch.exp(-((y - upper).clamp_min(0) / 1.5)))
    canvas.paint(CAVITY, 0.8 * inside * torch.exp(-((lower - y).clamp_min(0) / 1.4)))


def _draw_tongue(
    canvas: Canvas, x: Tensor, y: Tensor, inside: Tensor, gap: Tensor, half_width: Tensor, raised: Tensor
) -> None:
    floor = (1 - UPPER_SHARE) * gap
    top = floor - gap * (0.26 + 0.46 * raised)
    height = (0.5 * gap).clamp_min(2)
    tongue = ellipse(x, y - top - height, (0.58 - 0.1 * raised) * half_width, height)
    coverage = inside * canvas.cover(tongue)
    canvas.paint(TONGUE, coverage)
    canvas.paint(shade(TONGUE, 0.7), 0.6 * coverage * glow(x / 2.2, 0 * y, 1, 1))
    canvas.paint(shade(TONGUE, 1.3), 0.45 * coverage * glow((x + 6) / 7, (y - top - 3) / 2.2, 1, 1))


def _draw_teeth(
    canvas: Canvas, x: Tensor, y: Tensor, inside: Tensor, lower: Tensor, inner: Tensor, gap: Tensor,
    shown: Tensor,
) -> None:  # fmt: skip
    """Upper teeth hang a fixed length below the lip, never beyond two thirds of the opening; lower ones only peep."""
    within = smoothstep(-inner.abs(), -0.86, -0.70)
    edge = -UPPER_SHARE * gap + torch.minimum(3.6 + 6.4 * shown, 0.62 * gap) - 2.2 * inner * inner
    teeth = inside * within * canvas.cover(y - edge, 1.4)
    canvas.paint(TEETH, teeth)
    cell = torch.remainder(x.abs(), 6.4)
    parting = torch.exp(-((torch.minimum(cell, 6.4 - cell) / 0.6) ** 2))
    canvas.paint(from_hex("cdbfae"), 0.45 * teeth * parting)
    canvas.paint(from_hex("b9a594"), 0.45 * teeth * smoothstep(inner.abs(), 0.35, 0.85))
    floor = lower - ((gap - 15) * 0.2).clamp(0, 3.4)
    peep = inside * smoothstep(-inner.abs(), -0.62, -0.42) * canvas.cover(floor - y, 1.4)
    canvas.paint(shade(TEETH, 0.84), 0.85 * peep)


def _draw_seam(
    identity: Identity, canvas: Canvas, y: Tensor, upper: Tensor, lower: Tensor, share: Tensor, shape: MouthShape
) -> None:
    """The line where closed lips meet; it fades as they part."""
    closed = 1 - smoothstep(shape.gap, 0.5, 4.0)
    line = (y - 0.5 * (upper + lower)).abs() - 0.55
    within = smoothstep(-share.abs(), -1.0, -0.9)
    canvas.paint(shade(identity.lip_colour, 0.5), 0.85 * closed * within * canvas.cover(line, 1.5))
