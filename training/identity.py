"""Who is drawn: the sampled appearance of a face, as plain numbers.

This module knows ranges, palettes and which features go together. It does not know how anything is drawn.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from avacast.training.colour import Colour, from_hex, luma, mix, shade

SKINS = ("fbdcc8", "f5cdb0", "efc3a2", "e6b08a", "d99e75", "c68a5f", "b0744b", "945d3b", "79492f", "623a27")
HAIRS = ("1f1a1c", "2d2220", "3f2c25", "5a3a29", "7a4e31", "9c6a3f", "c3935a", "dfbd83", "a84f2b", "c9663a")
GREYS = ("8d8a8a", "b5b1ae", "d9d5d0")
DYES = ("3d6d8c", "8c4a7d", "d1728f", "3f7f6d")
EYES = ("4a2f20", "5f3f28", "6f5a30", "4f7a4a", "4f86b0", "6d8ea0", "5a6670", "7a6a3a")
CLOTHES = (
    "c8553d", "2f4858", "33658a", "86bbd8", "f6ae2d", "5b8e7d", "8cb369", "bc4b51", "6d597a", "e8e1d9",
    "3d405b", "e07a5f", "81b29a", "f2cc8f", "264653", "a5a58d", "d5bdaf", "495867", "9d4edd", "f4f1ec",
)  # fmt: skip
BACKGROUNDS = (
    "f4e3d7", "dfe9ec", "e8e4f0", "d9ead8", "f7dfe0", "fbeec8", "c9dbe8", "b8d4c8", "e3c9b5", "cfc5dd",
    "8fb1c4", "7f9e93", "c98f7a", "6f7f9c", "efe9e1", "a9b9a0",
)  # fmt: skip

HAIR_STYLES = (
    "bald", "buzz", "crop", "side_part", "quiff", "curly", "afro", "long", "wavy", "bob", "fringe", "bun",
    "pigtails", "headscarf",
)  # fmt: skip
BEARDS = ("none", "stubble", "moustache", "goatee", "full")
GLASSES = ("none", "round", "square", "browline")
HATS = ("none", "beanie", "brim", "headband")
GARMENTS = ("crew", "vee", "collar", "hoodie", "turtleneck", "blazer", "stripes")
BACKDROPS = ("plain", "gradient", "disc", "spots", "horizon")


@dataclass(frozen=True)
class Identity:
    """Everything that stays the same about one drawn face. Lengths in points (1/256 of the frame's side)."""

    skin: Colour
    hair_colour: Colour
    brow_colour: Colour
    eye_colour: Colour
    lip_colour: Colour
    hair_style: str
    hair_volume: float
    hair_line: float
    hair_side: float
    """-1 or 1: the side of the parting."""
    beard: str
    glasses: str
    glasses_colour: Colour
    hat: str
    hat_colour: Colour
    earrings: bool
    garment: str
    garment_colour: Colour
    second_colour: Colour
    backdrop: str
    backdrop_colours: tuple[Colour, Colour]
    face_width: float
    jaw_width: float
    face_length: float
    ear_size: float
    eye_width: float
    eye_height: float
    eye_spacing: float
    eye_y: float
    eye_tilt: float
    lashes: float
    brow_thickness: float
    brow_arch: float
    brow_height: float
    nose_width: float
    nose_length: float
    mouth_width: float
    """Outer width at rest."""
    mouth_gap: float
    """Inner height at full opening."""
    mouth_y: float
    lip_fullness: float
    smile: float
    age: float
    """0 young .. 1 old."""
    blush: float
    freckles: float
    texture_seed: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of `to_dict`, also after a trip through JSON."""
        return cls(**{name: _tuples(value) for name, value in values.items()})


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value


def _pick(rng: np.random.Generator, options: tuple[str, ...], weights: dict[str, float] | None = None) -> str:
    """One of `options`; those in `weights` count that much, the others 1."""
    shares = np.array([(weights or {}).get(option, 1.0) for option in options])
    return options[int(rng.choice(len(options), p=shares / shares.sum()))]


def _hex(rng: np.random.Generator, options: tuple[str, ...], jitter: float = 0.03) -> Colour:
    """One of the palette's colours, moved a little."""
    red, green, blue = (float(np.clip(c + rng.normal(0, jitter), 0, 1)) for c in from_hex(_pick(rng, options)))
    return red, green, blue


def _lip_colour(rng: np.random.Generator, skin: Colour, made_up: bool) -> Colour:
    """Rosier and darker than the skin, so that the outline of the mouth reads at any skin tone."""
    rose = from_hex("b23a4c") if made_up else from_hex("b8545a")
    natural = mix(shade(skin, 0.86), rose, 0.62 if made_up else 0.48)
    red, green, blue = natural
    return min(red + 0.03, 1.0), green * float(rng.uniform(0.86, 0.95)), blue * float(rng.uniform(0.9, 1.0))


def _hair_colour(rng: np.random.Generator, skin: Colour, age: float) -> Colour:
    if age > 0.62:
        return _hex(rng, GREYS, 0.02)
    if rng.random() < 0.05:
        return _hex(rng, DYES)
    # Dark skin with pale blond hair is rare; the dark half of the palette suits it.
    return _hex(rng, HAIRS if luma(skin) > 0.62 else HAIRS[:5], 0.015)


def sample_identity(rng: np.random.Generator) -> Identity:
    """A face nobody has seen, the same for the same state of `rng`."""
    masculine = bool(rng.random() < 0.5)
    age = float(rng.beta(1.6, 2.2))
    skin = _hex(rng, SKINS, 0.012)
    hair = _hair_colour(rng, skin, age)
    brow = mix(hair, shade(skin, 0.45), 0.35 if luma(hair) < 0.5 else 0.6)
    return Identity(
        skin=skin,
        hair_colour=hair,
        brow_colour=brow,
        eye_colour=_hex(rng, EYES if luma(skin) > 0.55 else EYES[:3]),
        lip_colour=_lip_colour(rng, skin, made_up=not masculine and rng.random() < 0.5),
        **_style(rng, masculine, age),
        **_surroundings(rng),
        **_proportions(rng, masculine),
        age=age,
        blush=float(rng.uniform(0.1, 0.5)),
        freckles=float(rng.uniform(0.3, 1.0)) if rng.random() < 0.12 and luma(skin) > 0.6 else 0.0,
        texture_seed=int(rng.integers(1 << 31)),
    )


def _style(rng: np.random.Generator, masculine: bool, age: float) -> dict[str, Any]:
    """Hair, beard and what is worn on the head."""
    if masculine:
        weights = {"long": 0.3, "wavy": 0.3, "bob": 0.2, "fringe": 0.1, "bun": 0.3, "pigtails": 0.0, "headscarf": 0.0}
        weights |= {"crop": 2.0, "side_part": 2.0, "bald": 0.6 + age}
    else:
        weights = {"bald": 0.08, "buzz": 0.3, "crop": 0.5, "quiff": 0.3, "long": 2.0, "wavy": 2.0, "bob": 1.5}
        weights |= {"pigtails": 0.5 if age < 0.5 else 0.0, "headscarf": 0.6}
    hair_style = _pick(rng, HAIR_STYLES, weights)
    roomy = hair_style in ("bald", "buzz", "crop", "side_part", "long", "wavy", "bob")
    dark_frame = rng.random() < 0.6
    return {
        "hair_style": hair_style,
        "hair_volume": float(rng.uniform(0.0, 1.0)),
        "hair_line": float(rng.uniform(0.0, 1.0)),
        "hair_side": 1.0 if rng.random() < 0.5 else -1.0,
        "beard": _pick(rng, BEARDS, {"none": 2.5}) if masculine else "none",
        "glasses": _pick(rng, GLASSES, {"none": 6.0}),
        "glasses_colour": from_hex("2a2628") if dark_frame else _hex(rng, ("7a3b2e", "355070", "b08d57", "6a4c93")),
        "hat": _pick(rng, HATS, {"none": 14.0}) if roomy else "none",
        "hat_colour": _hex(rng, CLOTHES),
        "earrings": not masculine and hair_style != "headscarf" and bool(rng.random() < 0.5),
    }


def _surroundings(rng: np.random.Generator) -> dict[str, Any]:
    """Clothes and what is behind."""
    return {
        "garment": _pick(rng, GARMENTS),
        "garment_colour": _hex(rng, CLOTHES),
        "second_colour": _hex(rng, CLOTHES),
        "backdrop": _pick(rng, BACKDROPS),
        "backdrop_colours": (_hex(rng, BACKGROUNDS, 0.015), _hex(rng, BACKGROUNDS, 0.015)),
    }


def _proportions(rng: np.random.Generator, masculine: bool) -> dict[str, Any]:
    """Shape of the face, in points."""
    face_width = rng.uniform(60, 67)
    return {
        "face_width": float(face_width),
        "jaw_width": float(face_width * (rng.uniform(0.81, 0.91) if masculine else rng.uniform(0.75, 0.85))),
        "face_length": float(rng.uniform(203, 210)),
        "ear_size": float(rng.uniform(0.85, 1.15)),
        "eye_width": float(rng.uniform(15.5, 18.5)),
        "eye_height": float(rng.uniform(9.6, 12.2)),
        "eye_spacing": float(rng.uniform(27.5, 31)),
        "eye_y": float(rng.uniform(112, 117)),
        "eye_tilt": float(rng.uniform(-0.04, 0.12)),
        "lashes": float(rng.uniform(0.0, 0.35) if masculine else rng.uniform(0.5, 1.0)),
        "brow_thickness": float(rng.uniform(2.8, 4.4) if masculine else rng.uniform(1.9, 3.1)),
        "brow_arch": float(rng.uniform(1.5, 6)),
        "brow_height": float(rng.uniform(19, 23)),
        "nose_width": float(rng.uniform(10, 15)),
        "nose_length": float(rng.uniform(138, 143)),
        "mouth_width": float(rng.uniform(60, 69)),
        "mouth_gap": float(rng.uniform(32, 37)),
        "mouth_y": float(rng.uniform(166, 169)),
        "lip_fullness": float(rng.uniform(0.0, 1.0)),
        "smile": float(rng.uniform(0.35, 1.0)),
    }
