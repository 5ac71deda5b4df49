"""Distances and coverage of the drawing's primitives."""

from __future__ import annotations

import math

import pytest
import torch

from avacast.training.shapes import Canvas, ellipse, rounded_box, segment, smoothstep, subtract, union


def canvas(num_pixels: int = 128) -> Canvas:
    return Canvas.blank(num_pixels, 256 / num_pixels, "cpu")


def area(coverage: torch.Tensor, num_pixels: int = 128) -> float:
    return float(coverage.sum()) * (256 / num_pixels) ** 2


def test_coverage_integrates_to_the_area() -> None:
    """The summed coverage of an anti-aliased shape is its area, to half a percent."""
    c = canvas()
    x, y = c.x - 128.3, c.y - 127.1
    assert area(c.cover(ellipse(x, y, 60.0, 40.0))) == pytest.approx(math.pi * 60 * 40, rel=5e-3)
    assert area(c.cover(rounded_box(x, y, 50, 30, 0))) == pytest.approx(6000, rel=5e-3)
    line = segment(x, y, (-40, 0), (40, 0), 5)
    assert area(c.cover(line)) == pytest.approx(800 + math.pi * 25, rel=1e-2)


def test_edges_are_soft_over_one_pixel() -> None:
    """Across an edge the coverage takes values between 0 and 1 in at most two neighbouring pixels."""
    c = canvas()
    row = c.cover(ellipse(c.x - 128, c.y - 128, 60.0, 60.0))[64]
    partial = ((row > 0) & (row < 1)).sum()
    assert 1 <= int(partial) <= 4


def test_union_and_subtraction() -> None:
    """A union is inside either shape, a difference only inside the first; blending only adds."""
    c = canvas()
    a, b = ellipse(c.x - 110, c.y - 128, 30.0, 30.0), ellipse(c.x - 150, c.y - 128, 30.0, 30.0)
    assert torch.equal(union(a, b) < 0, (a < 0) | (b < 0))
    assert torch.equal(subtract(a, b) < 0, (a < 0) & ~(b <= 0))
    assert bool((union(a, b, 12) <= union(a, b) + 1e-4).all())


def test_painting_is_premultiplied() -> None:
    """Half coverage of white on nothing is half white and half transparent; a tint adds no opacity."""
    c = canvas(8)
    half = torch.full_like(c.x, 0.5)
    c.paint((1.0, 1.0, 1.0), half)
    assert torch.allclose(c.rgba(), torch.tensor(0.5))
    c.tint((0.0, 0.0, 0.0), torch.ones_like(half))
    assert torch.allclose(c.rgba()[:3], torch.tensor(0.0))
    assert torch.allclose(c.rgba()[3], torch.tensor(0.5))


def test_smoothstep_ends() -> None:
    """0 at and below the low end, 1 at and above the high end, one half in the middle."""
    assert smoothstep(torch.tensor([-1.0, 2.0, 3.0, 4.0, 9.0]), 2, 4).tolist() == [0, 0, 0.5, 1, 1]
