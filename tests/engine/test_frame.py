"""Frames on their way to the host."""

from __future__ import annotations

import numpy as np
import torch

from avacast.engine.frame import Showing
from avacast.engine.side_stream import Fetched


def test_frames_are_numbered_from_the_first_and_those_too_many_are_left():
    """The last latent frame of a stream may make up to three frames beyond its end."""
    images = torch.arange(4 * 6, dtype=torch.uint8).view(4, 1, 2, 3)
    showing = Showing(first=9, num_frames=2, images=Fetched(images))
    assert list(showing.numbers) == [9, 10]
    for _ in range(2):  # waiting again gives them again
        frames = showing.frames()
        assert [frame.pts for frame in frames] == [9, 10]
        assert np.array_equal(np.stack([frame.image for frame in frames]), images[:2].numpy())


def test_where_nothing_is_shown_there_are_no_frames():
    showing = Showing(first=9, num_frames=0, images=None)
    assert showing.frames() == []
    assert len(showing.numbers) == 0
