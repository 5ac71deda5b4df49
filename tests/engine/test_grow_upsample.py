"""The growth of the tiny auto-encoder: one transposed convolution for three layers of the public layout."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avacast.engine.grow_upsample import GrowUpsample, interleaved


def as_in_the_public_layout(grow: GrowUpsample, narrowing: nn.Conv2d, x: Tensor, batch: int) -> Tensor:
    """1x1 convolution, its channels as further frames, nearest upsampling, 3x3 convolution."""
    grown = grow.conv(x).unflatten(0, (-1, batch)).unflatten(2, (grow.stride, -1))
    frames = grown.transpose(1, 2).flatten(0, 2)
    return narrowing(F.interpolate(frames, scale_factor=2, mode="nearest"))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("batch", [1, 2])
def test_it_computes_what_the_three_layers_do(stride: int, batch: int):
    """Frames in order of time, edges of the picture included, to 1e-5."""
    torch.manual_seed(0)
    grow, narrowing = GrowUpsample(6, stride), nn.Conv2d(6, 4, 3, padding=1, bias=False)
    x = torch.randn(3 * batch, 6, 5, 7)
    made = grow(x, batch, narrowing)
    assert made.shape == (3 * stride * batch, 4, 10, 14)
    torch.testing.assert_close(made, as_in_the_public_layout(grow, narrowing, x, batch), rtol=1e-5, atol=1e-5)


def test_frames_are_put_in_order_of_time():
    """The first frames made of each, then the second: of two videos side by side."""
    first, second = (torch.tensor([0.0, 1, 4, 5]).view(4, 1, 1, 1) + offset for offset in (0, 2))
    assert interleaved([first, second], 2).flatten().tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
