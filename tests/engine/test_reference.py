from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from avacast.engine.errors import BadPortrait
from avacast.engine.pipeline import Pipeline
from avacast.engine.portrait import Picture
from avacast.engine.reference import Reference, prepare_portrait


def picture(height: int = 96, width: int = 128) -> Picture:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 255 // height, columns * 255 // width, (rows + columns) % 256], axis=-1).astype(np.uint8)


class TestPreparing:
    def test_cuts_the_centre_out_in_the_wanted_shape(self):
        wide = np.zeros((64, 192, 3), np.uint8)
        wide[:, 64:128] = 255
        assert torch.equal(prepare_portrait(wide, 64, 64), torch.ones(3, 64, 64))
        tall = wide.transpose(1, 0, 2).copy()
        assert torch.equal(prepare_portrait(tall, 64, 64), torch.ones(3, 64, 64))

    def test_a_picture_of_the_wanted_size_is_only_rescaled_to_one(self):
        expected = torch.from_numpy(picture()).permute(2, 0, 1) / 255
        assert torch.equal(prepare_portrait(picture(), 96, 128), expected)

    def test_scaling_keeps_a_gradient_where_it_was(self):
        large, small = prepare_portrait(picture(512, 512), 64, 64), prepare_portrait(picture(64, 64), 64, 64)
        assert (large[:2] - small[:2]).abs().max() < 0.02

    @pytest.mark.parametrize(
        "bad", [np.zeros((64, 64), np.uint8), np.zeros((64, 64, 4), np.uint8), np.zeros((64, 64, 3), np.float32)]
    )
    def test_refuses_arrays_that_are_no_picture(self, bad: np.ndarray):
        with pytest.raises(BadPortrait, match="uint8"):
            prepare_portrait(bad, 64, 64)


class TestLayout:
    @pytest.fixture
    def portrait(self) -> Tensor:
        return prepare_portrait(picture(64, 64), 64, 64)

    def test_on_all_every_latent_frame_carries_mask_and_picture(self, tiny_pipeline: Pipeline, portrait: Tensor):
        encode = tiny_pipeline.networks.encode
        reference = Reference.encode(encode, portrait, "all", window=4)
        layout = reference.layout(3)
        assert layout.shape == (12, 3, 8, 8)
        assert torch.equal(layout[:4], torch.ones(4, 3, 8, 8))
        assert torch.equal(layout[4:], encode(portrait[None]).expand(8, 3, 8, 8))

    def test_on_first_the_picture_is_followed_by_grey_as_one_video(self, tiny_pipeline: Pipeline, portrait: Tensor):
        encode = tiny_pipeline.networks.encode
        reference = Reference.encode(encode, portrait, "first", window=4)
        full = reference.layout(4)
        assert torch.equal(full[:4, 0], torch.ones(4, 8, 8))
        assert torch.equal(full[:4, 1:], torch.zeros(4, 3, 8, 8))
        video = torch.cat([portrait[None], torch.full((12, 3, 64, 64), 0.5)])
        assert torch.equal(full[4:], encode(video))
        # Causal: a shorter window is the beginning of a longer one.
        torch.testing.assert_close(reference.layout(2)[4:], encode(video[:5]), rtol=1e-4, atol=1e-5)
