"""The decoder's own stage: what its loss sees, and that latents keep their meaning."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from avacast.engine.config import VAEConfig
from avacast.training.autoencoder import AutoencoderRecipe, train_autoencoder
from avacast.training.checkpoint import averaged_weights
from avacast.training.decoder import DecoderRecipe, change, contrast, log_error, motion, train_decoder

SMALL = VAEConfig(decoder_widths=(8, 8, 8, 8), encoder_width=8)
RECIPE = DecoderRecipe(num_clips=2, num_frames=5, crop=32, batch_size=2, num_steps=2)


def test_only_the_decoder_changes_and_a_second_run_finds_it_done(tmp_path: Path):
    recipe = AutoencoderRecipe(num_clips=2, num_frames=5, crop=32, batch_size=2, num_steps=1)
    autoencoder = train_autoencoder(SMALL, recipe, tmp_path, seed=0, size=64)
    before = averaged_weights(autoencoder)
    after = averaged_weights(train_decoder(SMALL, RECIPE, autoencoder, tmp_path, seed=0, size=64))
    changed = {name.partition(".")[0] for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == {"decoder"}
    again = averaged_weights(train_decoder(SMALL, RECIPE, autoencoder, tmp_path, seed=0, size=64))
    assert all(torch.equal(value, after[name]) for name, value in again.items())


def test_motion_is_where_pixels_change_and_none_is_in_the_first_frame():
    frames = torch.zeros(1, 3, 3, 16, 16)
    frames[:, 2, :, 4, 4] = 1.0
    moved = motion(frames)
    assert moved.shape == (1, 3, 1, 16, 16)
    assert torch.nonzero(moved).tolist() == [[0, 2, 0, 4, 4]]


def test_change_and_contrast_are_those_of_a_cell():
    frames = torch.zeros(1, 2, 3, 16, 16)
    frames[:, 1, :, :8, :8] = 0.5
    assert change(frames)[0, 0].tolist() == [[0.5, 0.0], [0.0, 0.0]]
    stripes = torch.zeros(1, 1, 3, 16, 16)
    stripes[..., :8, 0:8:2] = 1.0
    cells = contrast(stripes)[0, 0]
    assert cells.shape == (2, 2)
    assert cells[0, 0] > 0.8
    assert cells[1, 1] == 0


def test_half_as_much_is_as_wrong_as_twice_as_much():
    true = torch.full((4,), 0.2)
    errors = [float(log_error(share * true, true, 0.0)) for share in (0.5, 1.0, 2.0)]
    assert errors == pytest.approx([0.6931, 0.0, 0.6931], abs=1e-4)
