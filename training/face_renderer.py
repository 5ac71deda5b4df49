"""Draws a clip of an identity that performs: frames, masks and the true opening of the mouth.

This module knows the order of the layers and how they are brought together for each frame: still pictures of the
backdrop, the body and the head are drawn once, bent by the head's motion, and the moving features are drawn inside
their own small boxes. It does not know speech.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from avacast.engine.face_reading import FaceBoxes
from avacast.engine.mouth import Box
from avacast.training.backdrop import draw_backdrop, draw_body
from avacast.training.eye_drawing import EYES_BOX, draw_eyes
from avacast.training.hair import draw_back_hair, has_back_hair
from avacast.training.head_drawing import draw_head, face_shape
from avacast.training.identity import Identity, sample_identity
from avacast.training.mouth_drawing import MOUTH_BOX, draw_mouth, mouth_shape
from avacast.training.performance import HeadMotion, Performance
from avacast.training.shapes import POINTS, Canvas, cover, ellipse

__all__ = ["Identity", "Performance", "Rendered", "face_boxes", "mouth_box", "render", "sample_identity"]

CELL = 8
"""Pixels of the frame in one cell of the masks (the auto-encoder's spatial stride)."""
CHUNK = 8
"""Frames drawn at once: enough to hide the cost of calls, few enough to stay in the cache."""
DETAIL = 1.5
"""Pixels of a still layer per pixel of the frame, so that bending it does not blur it."""

Painter = Callable[[Identity, Canvas, Tensor, Tensor, dict[str, Tensor]], None]


@dataclass(frozen=True)
class Rendered:
    """A drawn clip of F frames, H by W."""

    frames: Tensor
    """uint8 `[F, H, W, 3]`."""
    face_mask: Tensor
    """float32 `[F, H/8, W/8]`: share of each cell that is face."""
    lip_mask: Tensor
    """float32 `[F, H/8, W/8]`: share of each cell that is mouth, with a margin."""
    opening: Tensor
    """float32 `[F]`: gap between the lips, of the frame's height."""
    width: Tensor
    """float32 `[F]`: outer width of the mouth, of the frame's width."""


@dataclass(frozen=True)
class _Layers:
    """The still pictures of one clip."""

    backdrop: Tensor
    """`[3, H, W]`."""
    back_hair: Tensor | None
    """Premultiplied `[1, 4, D, D]`, as the two below."""
    body: Tensor
    head: Tensor


@torch.inference_mode()
def render(identity: Identity, performance: Performance, *, size: int = 256, device: str = "cpu") -> Rendered:
    """Draws every frame of `performance`, `size` pixels square; the same arguments give the same pixels."""
    assert size % CELL == 0, size
    layers = _draw_layers(identity, size, device)
    tracks = performance.tracks(device)
    parts = [
        _render_chunk(identity, layers, {name: track[start : start + CHUNK] for name, track in tracks.items()}, size)
        for start in range(0, performance.num_frames, CHUNK)
    ]
    frames, face_mask, lip_mask = (torch.cat(column) for column in zip(*parts, strict=True))
    mouth = mouth_shape(identity, tracks)
    return Rendered(
        frames=frames,
        face_mask=face_mask,
        lip_mask=lip_mask,
        opening=(mouth.gap / POINTS).flatten(),
        width=(2 * mouth.half_width / POINTS).flatten(),
    )


def mouth_box(identity: Identity, size: int = 256) -> Box:
    """The region that holds the mouth through all usual motion."""
    half = 0.5 * identity.mouth_width + 14
    return _scaled((identity.mouth_y - 24, 128 - half, identity.mouth_y + 54, 128 + half), size / POINTS)


def face_boxes(identity: Identity, size: int = 256) -> FaceBoxes:
    """Where mouth, eyes and nose are through all usual motion."""
    scale = size / POINTS
    half = identity.eye_spacing + identity.eye_width + 8
    lid, below = identity.eye_y - identity.eye_height, identity.eye_y + 0.55 * identity.eye_height
    eyes = (lid - 6, 128 - half, below + 8, 128 + half)
    nose = (below + 4, 128 - 28, identity.mouth_y - 16, 128 + 28)
    return FaceBoxes(mouth_box(identity, size), _scaled(eyes, scale), _scaled(nose, scale))


def _scaled(box: tuple[float, float, float, float], scale: float) -> Box:
    top, left, bottom, right = box
    return round(top * scale), round(left * scale), round(bottom * scale), round(right * scale)


def _draw_layers(identity: Identity, size: int, device: str) -> _Layers:
    pixel = POINTS / size
    detail = int(DETAIL * size)

    def drawn(draw: Callable[[Identity, Canvas], None]) -> Tensor:
        canvas = Canvas.blank(detail, pixel, device)
        draw(identity, canvas)
        return canvas.rgba().unsqueeze(0)

    backdrop = Canvas.blank(size, pixel, device)
    draw_backdrop(identity, backdrop)
    back_hair = drawn(draw_back_hair) if has_back_hair(identity) else None
    return _Layers(backdrop.rgb, back_hair, drawn(draw_body), drawn(draw_head))


def _render_chunk(
    identity: Identity, layers: _Layers, tracks: dict[str, Tensor], size: int
) -> tuple[Tensor, Tensor, Tensor]:
    motion = HeadMotion(tracks, identity.mouth_y, identity.face_length)
    num_frames = tracks["jaw"].shape[0]
    frames = layers.backdrop.expand(num_frames, -1, -1, -1).clone()
    if layers.back_hair is not None:
        _lay_over(frames, layers.back_hair, motion.to_far, 0)
    _lay_over(frames, layers.body, motion.to_body, size * 5 // 8)
    _lay_over(frames, layers.head, motion.to_skin, 0)
    _paint_box(identity, frames, motion, EYES_BOX, identity.eye_y, draw_eyes)
    _paint_box(identity, frames, motion, MOUTH_BOX, identity.mouth_y, draw_mouth)
    pixels = frames.mul_(255).add_(0.5).clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    return pixels, *_masks(identity, motion, size, frames.device)


def _lay_over(
    frames: Tensor, layer: Tensor, mapping: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], top: int
) -> None:
    """Composites a bent still picture over the rows of `frames` from `top` down, in place."""
    size = frames.shape[-1]
    rows = size - top
    pixel = POINTS / size
    # The bend is smooth, so it is computed every few pixels and interpolated.
    x = torch.linspace(0.5, size - 0.5, size // 8 + 1, device=frames.device) * pixel
    y = torch.linspace(top + 0.5, size - 0.5, rows // 8 + 1, device=frames.device) * pixel
    u, v = mapping(x.view(1, 1, -1), y.view(1, -1, 1))
    num_frames = frames.shape[0]
    coarse = torch.stack([u.expand(num_frames, len(y), len(x)), v.expand(num_frames, len(y), len(x)) - 128], dim=1)
    grid = functional.interpolate(coarse / 128, (rows, size), mode="bilinear", align_corners=True)
    bent = functional.grid_sample(
        layer.expand(num_frames, -1, -1, -1), grid.permute(0, 2, 3, 1), padding_mode="border", align_corners=False
    )
    frames[:, :, top:].mul_(1 - bent[:, 3:]).add_(bent[:, :3])


def _paint_box(
    identity: Identity,
    frames: Tensor,
    motion: HeadMotion,
    box: tuple[float, float, float, float],
    anchor_y: float,
    paint: Painter,
) -> None:
    """Draws moving features in place inside a box that follows the head, pixel by pixel."""
    num_frames, _, size, _ = frames.shape
    pixel = POINTS / size
    left, top, right, bottom = box
    width, height = int((right - left) / pixel), int((bottom - top) / pixel)
    centre_x, centre_y = motion.centre(0.5 * (left + right), anchor_y + 0.5 * (top + bottom))
    first_x = (centre_x / pixel - 0.5 * width).round().long().clamp(0, size - width).view(-1, 1, 1)
    first_y = (centre_y / pixel - 0.5 * height).round().long().clamp(0, size - height).view(-1, 1, 1)
    columns = first_x + torch.arange(width, device=frames.device).view(1, 1, -1)
    rows = first_y + torch.arange(height, device=frames.device).view(1, -1, 1)
    index = (torch.arange(num_frames, device=frames.device).view(-1, 1, 1), slice(None), rows, columns)
    patch = frames[index[0], :, index[2], index[3]].permute(0, 3, 1, 2).contiguous()
    u, v = motion.to_face((columns + 0.5) * pixel, (rows + 0.5) * pixel)
    canvas = Canvas(u, v, patch, None, pixel)
    paint(identity, canvas, u, v - anchor_y, motion.tracks)
    frames[index[0], :, index[2], index[3]] = canvas.rgb.permute(0, 2, 3, 1)


def _masks(identity: Identity, motion: HeadMotion, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Face and mouth as the share of each 8x8 cell, from four samples in it."""
    cells = 2 * size // CELL
    line = (torch.arange(cells, device=device) + 0.5) * (POINTS / cells)
    x, y = line.view(1, 1, -1), line.view(1, -1, 1)
    sample = POINTS / cells
    u, v = motion.to_skin(x, y)
    face = cover(face_shape(identity, u, v), sample)
    u, v = motion.to_face(x, y)
    mouth = mouth_shape(identity, motion.tracks)
    middle = identity.mouth_y + 0.3 * mouth.gap
    lips = cover(ellipse(u, v - middle, mouth.half_width + 8, 0.5 * mouth.gap + 18), sample)
    return functional.avg_pool2d(face, 2), functional.avg_pool2d(lips, 2)
