"""Signed-distance shapes and the layers they are painted on.

This module knows geometry and compositing: a distance is negative inside a shape and measured in points, 1/256 of the
frame's side, whatever the resolution. It does not know what a face is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from avacast.training.colour import Colour

POINTS = 256.0
"""Side of a frame in points, the unit of every length in the drawing."""


@dataclass
class Canvas:
    """A premultiplied RGBA picture, or a batch of them, with the coordinates of its pixels.

    `x`, `y` are `[..., H, W]` in points, `rgb` is `[..., 3, H, W]`, `alpha` is `[..., H, W]` or None
    where all is opaque, `pixel` the side of one
    pixel of the *finished frame* in points: edges are softened over that much.
    """

    x: Tensor
    y: Tensor
    rgb: Tensor
    alpha: Tensor | None
    pixel: float

    @classmethod
    def blank(cls, num_pixels: int, pixel: float, device: str) -> Self:
        """A transparent square that spans the frame with `num_pixels` on a side."""
        line = (torch.arange(num_pixels, device=device, dtype=torch.float32) + 0.5) * (POINTS / num_pixels)
        y, x = torch.meshgrid(line, line, indexing="ij")
        rgb = torch.zeros(3, num_pixels, num_pixels, device=device)
        return cls(x, y, rgb, torch.zeros_like(x), pixel)

    def cover(self, distance: Tensor, softness: float = 0.0) -> Tensor:
        """Share of each pixel inside a shape, 0..1; `softness` in points widens the edge for shading."""
        return cover(distance, max(self.pixel, softness))

    def paint(self, colour: Colour | Tensor, coverage: Tensor) -> None:
        """Lays opaque paint of `colour` (a triple, or `[..., 3, H, W]`) where `coverage` is."""
        self.rgb.lerp_(_as_rgb(colour, self.rgb), coverage.unsqueeze(-3))
        if self.alpha is not None:
            self.alpha.lerp_(torch.ones_like(coverage), coverage)

    def tint(self, colour: Colour, coverage: Tensor) -> None:
        """Colours what is already painted and leaves transparency as it is."""
        paint = _as_rgb(colour, self.rgb)
        if self.alpha is not None:
            paint = paint * self.alpha.unsqueeze(-3)
        self.rgb.lerp_(paint, coverage.unsqueeze(-3))

    def rgba(self) -> Tensor:
        """`[..., 4, H, W]`, premultiplied."""
        assert self.alpha is not None, "an opaque canvas has no alpha"
        return torch.cat([self.rgb, self.alpha.unsqueeze(-3)], dim=-3)


def _as_rgb(colour: Colour | Tensor, like: Tensor) -> Tensor:
    if isinstance(colour, Tensor):
        return colour
    return torch.tensor(colour, device=like.device).view(3, 1, 1)


def cover(distance: Tensor, width: float) -> Tensor:
    """Box-filtered coverage of an edge: 1 inside, 0 outside, linear over `width` points."""
    return (0.5 - distance / width).clamp_(0, 1)


def smoothstep(value: Tensor, low: float, high: float) -> Tensor:
    """0 below `low`, 1 above `high`, the cubic 3t²-2t³ between."""
    t = ((value - low) / (high - low)).clamp_(0, 1)
    return t * t * (3 - 2 * t)


def glow(x: Tensor, y: Tensor, radius_x: float, radius_y: float) -> Tensor:
    """A Gaussian spot of height 1 around the origin, for blush, light and shadow."""
    return torch.exp(-((x / radius_x) ** 2 + (y / radius_y) ** 2))


def ellipse(x: Tensor, y: Tensor, radius_x: float | Tensor, radius_y: float | Tensor) -> Tensor:
    """Distance to an axis-aligned ellipse at the origin, to first order (exact on its outline)."""
    u, v = x / radius_x, y / radius_y
    inside = torch.sqrt(u * u + v * v)
    slope = torch.sqrt((u / radius_x) ** 2 + (v / radius_y) ** 2)
    return inside * (inside - 1) / slope.clamp_min(1e-6)


def rounded_box(x: Tensor, y: Tensor, half_width: float | Tensor, half_height: float, radius: float) -> Tensor:
    """Distance to a box at the origin whose corners have the given radius."""
    u = x.abs() - (half_width - radius)
    v = y.abs() - (half_height - radius)
    outside = torch.sqrt(u.clamp_min(0) ** 2 + v.clamp_min(0) ** 2)
    return outside + torch.maximum(u, v).clamp_max(0) - radius


def segment(x: Tensor, y: Tensor, start: tuple[float, float], end: tuple[float, float], radius: float) -> Tensor:
    """Distance to a line with round ends."""
    ax, ay = start
    bx, by = end[0] - ax, end[1] - ay
    t = (((x - ax) * bx + (y - ay) * by) / (bx * bx + by * by)).clamp_(0, 1)
    return torch.hypot(x - ax - t * bx, y - ay - t * by) - radius


def union(a: Tensor, b: Tensor, blend: float = 0.0) -> Tensor:
    """Both shapes; a `blend` in points rounds the seam (polynomial smooth minimum)."""
    if blend == 0.0:
        return torch.minimum(a, b)
    h = (0.5 + 0.5 * (b - a) / blend).clamp_(0, 1)
    return torch.lerp(b, a, h) - blend * h * (1 - h)


def intersect(a: Tensor, b: Tensor) -> Tensor:
    """What lies in both shapes."""
    return torch.maximum(a, b)


def subtract(a: Tensor, b: Tensor) -> Tensor:
    """What lies in `a` and not in `b`."""
    return torch.maximum(a, -b)


def between(y: Tensor, top: Tensor, bottom: Tensor) -> Tensor:
    """Vertical distance to the band from curve `top` to curve `bottom`, both functions of x."""
    return torch.maximum(top - y, y - bottom)
