"""Drawn clips: shapes, repeatability, and masks and openings that say what is in the picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from avacast.engine.motion import Motion, motion
from avacast.engine.mouth import read_mouth
from avacast.training.acting import BREATH, PITCH_RAD, ROLL_RAD, YAW_RAD
from avacast.training.face_renderer import CHUNK, Identity, Performance, Rendered, mouth_box, render, sample_identity
from avacast.training.identity import GARMENTS, GLASSES, HAIR_STYLES, HATS

SIZE = 128
FURTHEST = 2.75
"""Units of motion that no head goes beyond; a test holds it."""


def person(seed: int = 3, changes: Mapping[str, Any] | None = None) -> Identity:
    return dataclasses.replace(sample_identity(np.random.default_rng(seed)), **(changes or {}))


def performance(num_frames: int, **values: object) -> Performance:
    """A rest but for the named tracks, numbers or lists."""
    rest = Performance.rest(num_frames)
    for name, value in values.items():
        getattr(rest, name)[:] = value
    return rest


def drawn(seed: int = 3, num_frames: int = 1, **values: object) -> Rendered:
    return render(person(seed), performance(num_frames, **values), size=SIZE)


def test_shapes_and_types() -> None:
    """uint8 frames with channels last, masks at one eighth, one opening and width per frame."""
    clip = drawn(num_frames=3)
    assert clip.frames.shape == (3, SIZE, SIZE, 3)
    assert clip.frames.dtype == torch.uint8
    assert clip.face_mask.shape == clip.lip_mask.shape == (3, SIZE // 8, SIZE // 8)
    assert clip.opening.shape == clip.width.shape == (3,)
    for mask in (clip.face_mask, clip.lip_mask):
        assert float(mask.min()) >= 0
        assert float(mask.max()) <= 1


def test_same_arguments_same_pixels() -> None:
    """Rendering is deterministic."""
    assert torch.equal(drawn(jaw=0.5).frames, drawn(jaw=0.5).frames)


def test_chunked_equals_whole() -> None:
    """A frame does not depend on those drawn beside it, across the renderer's chunks too."""
    ramp = np.linspace(0, 1, CHUNK + 3)
    whole = drawn(num_frames=CHUNK + 3, jaw=ramp, yaw=0.2 * ramp)
    for frame in (0, CHUNK - 1, CHUNK, CHUNK + 2):
        alone = drawn(jaw=ramp[frame], yaw=0.2 * ramp[frame])
        assert (whole.frames[frame].int() - alone.frames[0].int()).abs().max() <= 1


def test_opening_is_proportional_to_the_jaw() -> None:
    """Half the jaw is half the gap; pressed lips have none."""
    clip = drawn(num_frames=3, jaw=[0.5, 1.0, 1.0], press=[0, 0, 1])
    assert float(clip.opening[0]) == pytest.approx(0.5 * float(clip.opening[1]))
    assert 0.11 < float(clip.opening[1]) < 0.16
    assert float(clip.opening[2]) == 0


def test_width_follows_the_lips() -> None:
    """Rounded is narrower than rest, spread wider; at rest a quarter of the frame."""
    width = drawn(num_frames=3, spread=[-1, 0, 1]).width
    assert width[0] < width[1] < width[2]
    assert 0.22 < float(width[1]) < 0.30


def test_lip_mask_holds_what_the_mouth_changes() -> None:
    """Pixels that change between rounded and spread lips, head still, lie where the lip mask is not zero."""
    clip = drawn(num_frames=2, jaw=0.4, spread=[-1, 1])
    changed = (clip.frames[0].int() - clip.frames[1].int()).abs().sum(-1) > 24
    cells = changed.view(SIZE // 8, 8, SIZE // 8, 8).any(3).any(1)
    inside = clip.lip_mask.amax(0) > 0
    assert cells.any()
    assert int((cells & ~inside).sum()) == 0


def test_masks_move_with_the_head() -> None:
    """A head shifted right by a tenth of the frame takes both masks along."""
    columns = torch.arange(SIZE // 8, dtype=torch.float32) + 0.5
    clip = drawn(num_frames=2, shift_x=[0, 0.1])
    for mask in (clip.face_mask, clip.lip_mask):
        middle = (mask.sum(1) * columns).sum(1) / mask.sum((1, 2))
        assert float(middle[1] - middle[0]) == pytest.approx(0.1 * SIZE / 8, abs=0.15)


@pytest.mark.parametrize("blink", [0.0, 1.0])
def test_blink_hides_the_white_of_the_eye(blink: float) -> None:
    """Open eyes show bright sclera, closed ones none."""
    identity = person(8, {"glasses": "none"})
    frame = render(identity, performance(1, blink=blink), size=256).frames[0]
    row, side = round(identity.eye_y), round(identity.eye_spacing)
    eye = frame[row - 6 : row + 5, 128 + side - 16 : 128 + side + 16].float()
    neutral = (eye.amin(-1) > 175) & (eye.amax(-1) - eye.amin(-1) < 25)
    assert (int(neutral.sum()) > 15) == (blink == 0.0)


@pytest.mark.parametrize("style", HAIR_STYLES)
def test_hair_leaves_eyes_and_mouth_free(style: str) -> None:
    """Whatever the hair's colour, the picture from the eyes down to the mouth stays the same."""
    rest = Performance.rest(1)
    kept = {"hair_style": style, "hat": "none", "beard": "none"}
    one = render(person(changes={**kept, "hair_colour": (0.1, 0.1, 0.1)}), rest, size=SIZE).frames[0].int()
    other = render(person(changes={**kept, "hair_colour": (0.7, 0.6, 0.9)}), rest, size=SIZE).frames[0].int()
    face = (slice(54, 92), slice(46, 82))
    assert (one[face] - other[face]).abs().max() <= 2


@pytest.mark.parametrize(
    "change",
    [{"garment": g} for g in GARMENTS] + [{"glasses": g} for g in GLASSES[1:]] + [{"hat": h} for h in HATS[1:]],
)
def test_every_accessory_shows(change: dict[str, str]) -> None:
    """Each garment, pair of glasses and hat changes the picture."""
    base = {"garment": "vee" if change.get("garment") == "crew" else "crew", "glasses": "none", "hat": "none"}
    rest = Performance.rest(1)
    plain = render(person(changes=base), rest, size=SIZE).frames.int()
    dressed = render(person(changes={**base, **change}), rest, size=SIZE).frames.int()
    assert int(((plain - dressed).abs().sum(-1) > 20).sum()) > 20


def test_no_head_goes_further() -> None:
    """Over four hours of heads in motion, one seed a minute."""
    turns = [Motion.YAW, Motion.PITCH, Motion.ROLL]
    furthest = max(float(np.abs(motion(seed, 0, 1500, 25.0)[:, turns]).max()) for seed in range(240))
    print(f"{furthest:.2f} units")
    assert furthest < FURTHEST


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_mouth_box_holds_the_mouth_in_motion(seed: int) -> None:
    """At the furthest of every motion all cells that are mostly mouth lie in the box, and the box in the frame."""
    identity = person(seed)
    yaw, pitch, roll, shift = FURTHEST * YAW_RAD, FURTHEST * PITCH_RAD, FURTHEST * ROLL_RAD, BREATH
    moved = performance(
        8,
        jaw=[0, 1] * 4,
        spread=[1, 1, 0, 0, 1, 1, 0, 0],
        yaw=[-yaw, yaw] * 4,
        pitch=[-pitch] * 4 + [pitch] * 4,
        roll=[-roll, roll, roll, -roll] * 2,
        shift_y=[-shift] * 4 + [shift] * 4,
    )
    mask = render(identity, moved, size=256).lip_mask.amax(0)
    top, left, bottom, right = mouth_box(identity)
    assert 0 <= top < bottom <= 256
    assert 0 <= left < right <= 256
    rows, columns = torch.nonzero(mask > 0.9, as_tuple=True)
    assert top <= 8 * int(rows.min()) + 4
    assert 8 * int(rows.max()) + 4 <= bottom
    assert left <= 8 * int(columns.min()) + 4
    assert 8 * int(columns.max()) + 4 <= right


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_gap_between_the_lips_stays_in_its_box(sign: int) -> None:
    """At the furthest a wide spread mouth reads as wide and as open inside the box as in one half as large again."""
    identity = person(7)
    moved = performance(1, jaw=1, spread=1, yaw=sign * FURTHEST * YAW_RAD, roll=-sign * FURTHEST * ROLL_RAD)
    frames = render(identity, moved, size=256).frames.numpy()
    top, left, bottom, right = box = mouth_box(identity)
    inside, around = read_mouth(frames, box), read_mouth(frames, (top, left - 12, bottom, right + 12))
    assert inside.width == pytest.approx(around.width, abs=0.004)
    assert inside.opening == pytest.approx(around.opening, rel=0.05)


def test_size_scales_the_drawing() -> None:
    """At half the resolution the picture is the same, only coarser."""
    small = render(person(), performance(1, jaw=0.6), size=128).frames[0].float()
    large = render(person(), performance(1, jaw=0.6), size=256).frames[0].float()
    shrunk = large.view(128, 2, 128, 2, 3).mean((1, 3))
    assert float((small - shrunk).abs().mean()) < 1.5
