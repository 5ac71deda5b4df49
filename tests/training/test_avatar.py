"""training/avatar.py: what of a window the transformer's error is weighed by."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from avacast.engine.config import TEMPORAL_STRIDE
from avacast.engine.motion import Motion
from avacast.engine.presets import POCKET
from avacast.training.avatar import AvatarRecipe, Windows
from avacast.training.corpus import CachedClips

LATENTS, SIDE, CHANNELS = 6, 4, POCKET.dit.latent_channels
CONFIG = dataclasses.replace(
    POCKET, vae=dataclasses.replace(POCKET.vae, latents_mean=(0.0,) * CHANNELS, latents_std=(1.0,) * CHANNELS)
)
RECIPE = AvatarRecipe(window_lengths=(LATENTS,), batch_size=2, face_weight=1.0, lip_weight=8.0, eye_weight=12.0)


@pytest.fixture
def clips() -> CachedClips:
    """One clip of blank latents: the eyes in the first cell, the mouth in the last, all of it face, and no blink."""
    shape = (1, LATENTS, SIDE, SIDE)
    lip, eyes = torch.zeros(shape, dtype=torch.uint8), torch.zeros(1, SIDE, SIDE, dtype=torch.uint8)
    lip[..., -1, -1] = eyes[..., 0, 0] = 255
    config = POCKET.dit
    return CachedClips(
        latents=torch.zeros(1, CHANNELS, LATENTS, SIDE, SIDE),
        reference=torch.zeros(1, CHANNELS, 1, SIDE, SIDE),
        audio=torch.zeros(1, LATENTS, 2, config.audio_in_dim),
        audio_mask=torch.ones(1, LATENTS, 2, dtype=torch.bool),
        motion=torch.zeros(1, LATENTS, config.motion_dim),
        face=torch.full(shape, 255, dtype=torch.uint8),
        lip=lip,
        eyes=eyes,
    )


def test_lips_count_more_than_the_face(clips: CachedClips) -> None:
    """Each share of a cell adds its weight to one."""
    weight = Windows(clips, CONFIG, RECIPE, seed=0).batch()["weight"][0, 0]

    assert weight.shape == (LATENTS, SIDE, SIDE)
    assert torch.all(weight[:, -1, -1] == 10.0)
    assert torch.all(weight[:, 0, :] == 2.0), "eyes that do not blink are face"


def test_eyes_count_while_they_blink(clips: CachedClips) -> None:
    """In the latent frame whose lids move, and by how far they close, in whichever of its four frames."""
    motion = clips.motion.clone().unflatten(-1, (TEMPORAL_STRIDE, len(Motion)))
    motion[0, 3, 2, Motion.BLINK] = 0.5
    blinking = dataclasses.replace(clips, motion=motion.flatten(-2))

    weight = Windows(blinking, CONFIG, RECIPE, seed=0).batch()["weight"][0, 0]

    assert weight[3, 0, 0] == 2.0 + 0.5 * 12.0
    assert torch.all(weight[[0, 1, 2, 4, 5], 0, 0] == 2.0)
    assert torch.all(weight[:, 1, 1] == 2.0)
