"""The portraits shipped with the project: drawn people whom the training never sees.

This module knows which seeds look good, what the people are called and how a gallery is laid out on disk. It draws
nothing itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image

from avacast.training.face_renderer import Identity, Performance, mouth_box, render, sample_identity

FIRST_SEED = 2_000_000
"""Training and validation draw their people from lower seeds."""

PORTRAITS = (
    ("ada", 34, "A woman with ginger hair in a bun, blue eyes and a navy jacket"),
    ("bruno", 27, "A man with brown side-parted hair, blue eyes and a full beard"),
    ("cleo", 13, "A woman with long dark wavy hair in front of a green disc"),
    ("dario", 28, "A man with black curls, round gold glasses and a black beard"),
    ("elsa", 38, "An elderly woman with a white bob, round black glasses and a striped jumper"),
    ("greta", 32, "A woman with long black hair, a green knitted cap and square glasses"),
    ("hugo", 24, "A man with short ginger hair, a ginger beard and freckles"),
    ("ines", 21, "A woman with a pink bob and fringe and a dark blue roll-neck"),
)
"""Name, offset from the first seed, and what a person who cannot see the picture is told."""

MOUTHS = (
    {},
    {"jaw": 1.0},
    {"jaw": 0.45, "spread": -1.0},
    {"jaw": 0.35, "spread": 1.0, "teeth": 0.6},
    {"jaw": 0.15, "teeth": 1.0},
    {"press": 1.0, "blink": 1.0},
)
"""Rest, as in "ah", "oh", "ee", "eff", and pressed as in "em"."""


def gallery_identity(name: str) -> Identity:
    """The person of that name."""
    offsets = {known: offset for known, offset, _ in PORTRAITS}
    return sample_identity(np.random.default_rng(FIRST_SEED + offsets[name]))


def write_gallery(folder: Path, num_portraits: int = len(PORTRAITS)) -> None:
    """Writes `<name>.png` (256x256, at rest) for the first people, and `gallery.json`, which lists them."""
    assert 1 <= num_portraits <= len(PORTRAITS), num_portraits
    folder.mkdir(parents=True, exist_ok=True)
    entries: list[dict[str, object]] = []
    for name, _, alt in PORTRAITS[:num_portraits]:
        identity = gallery_identity(name)
        picture = render(identity, Performance.rest(1)).frames[0].numpy()
        Image.fromarray(picture).save(folder / f"{name}.png", optimize=True)
        entries.append({"name": name, "file": f"{name}.png", "mouth_box": list(mouth_box(identity)), "alt": alt})
    (folder / "gallery.json").write_text(json.dumps(entries, indent=2) + "\n")


def contact_sheet(path: Path, tile: int = 128) -> None:
    """Writes one picture: the gallery's people from left to right, mouth shapes from top to bottom."""
    performance = Performance.rest(len(MOUTHS))
    for frame, mouth in enumerate(MOUTHS):
        for track, value in mouth.items():
            getattr(performance, track)[frame] = value
    columns = [render(gallery_identity(name), performance, size=tile).frames for name, _, _ in PORTRAITS]
    sheet = torch.stack(columns, dim=1).permute(0, 2, 1, 3, 4).reshape(len(MOUTHS) * tile, -1, 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet.numpy()).save(path, optimize=True)


def gallery(
    folder: Annotated[Path, typer.Option(help="Where the portraits go.")] = Path("gallery"),
    sheet: Annotated[Path, typer.Option(help="The picture of all people and mouth shapes.")] = Path("docs/faces.png"),
) -> None:
    """Draw the shipped portraits again."""
    write_gallery(folder)
    contact_sheet(sheet)
