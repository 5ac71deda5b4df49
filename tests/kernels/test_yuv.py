from __future__ import annotations

from collections.abc import Callable

import av
import pytest
import torch
from torch import Tensor

from avacast.kernels.yuv import to_i420, to_i420_fused


def smooth_frames(num_frames: int, height: int, width: int) -> Tensor:
    """Soft colour gradients over the whole range, as a face before a wall has them."""
    rows, columns = torch.linspace(0, 3, height)[:, None], torch.linspace(0, 3, width)
    waves = [torch.sin(rows * (c + 1) + columns + t + 2 * c) for t in range(num_frames) for c in range(3)]
    return torch.stack(waves).mul(0.5).add(0.5).unflatten(0, (num_frames, 3))


def noise(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def planes_of(i420: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Luma [H, W] and the two chroma planes [H/2, W/2] of one picture."""
    height, width = i420.shape[0] * 2 // 3, i420.shape[1]
    blue, red = i420[height:].reshape(2, height // 2, width // 2)
    return i420[:height], blue, red


@pytest.mark.parametrize(
    ("colour", "expected"),
    [
        ((0.0, 0.0, 0.0), (16, 128, 128)),
        ((1.0, 1.0, 1.0), (235, 128, 128)),
        ((1.0, 0.0, 0.0), (81, 90, 240)),
        ((0.0, 1.0, 0.0), (145, 54, 34)),
        ((0.0, 0.0, 1.0), (41, 240, 110)),
    ],
)
def test_pure_colours_have_the_standards_levels(colour: tuple[float, ...], expected: tuple[int, ...]):
    picture = torch.tensor(colour)[None, :, None, None].expand(1, 3, 2, 4)
    for plane, level in zip(planes_of(to_i420(picture)[0]), expected, strict=True):
        assert plane.unique().tolist() == [level]


def test_a_smooth_picture_is_what_ffmpeg_makes_of_it(agree: Callable[..., None]):
    """Within two levels, from the same bytes: ffmpeg rounds on the way, and filters chroma a little differently."""
    rgb = smooth_frames(2, 64, 96).mul(255).round()
    for frame, ours in zip(rgb, to_i420(rgb / 255), strict=True):
        image = frame.permute(1, 2, 0).contiguous().byte().numpy()
        theirs = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p").to_ndarray()
        for one, other in zip(planes_of(ours), planes_of(torch.from_numpy(theirs)), strict=True):
            agree(one, other, largest=2, mean=0.6)


def test_ffmpeg_takes_the_planes_and_shows_the_picture(agree: Callable[..., None]):
    rgb = smooth_frames(1, 256, 384)
    shown = av.VideoFrame.from_ndarray(to_i420(rgb)[0].numpy(), format="yuv420p").to_ndarray(format="rgb24")
    agree(torch.from_numpy(shown).permute(2, 0, 1), rgb[0].mul(255).round().byte(), largest=8, mean=2)


def test_chroma_is_the_mean_of_two_by_two_pixels():
    """Red and blue, side by side over black: a quarter of each one's difference from grey."""
    picture = torch.zeros(1, 3, 2, 2)
    picture[0, 0, 0, 0] = picture[0, 2, 0, 1] = 1
    _, blue, red = planes_of(to_i420(picture)[0])
    assert blue.item() == round(128 + (112.0 - 37.797) / 4)
    assert red.item() == round(128 + (112.0 - 18.214) / 4)


def test_values_out_of_range_are_clamped():
    wild = 4 * noise(1, 3, 4, 4) - 1.5
    assert torch.equal(to_i420(wild), to_i420(wild.clamp(0, 1)))


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize("shape", [(1, 3, 2, 2), (2, 3, 6, 10), (1, 3, 2, 514)])
def test_the_kernel_converts_frames_of_any_size(shape: tuple[int, ...], agree: Callable[..., None]):
    """One quad, fewer than a block, one more than a block. A level may differ where the value lies half-way."""
    frames = 1.2 * noise(*shape) - 0.1
    agree(to_i420_fused(frames), to_i420(frames), largest=1, mean=1e-3)


@pytest.mark.usefixtures("interpreted")
def test_the_kernel_reads_frames_where_they_lie():
    """Channels-last, or a slice of a longer clip, as decoders leave them; bfloat16 too."""
    frames = noise(3, 3, 4, 6).bfloat16()
    expected = to_i420(frames)
    channels_last = frames.contiguous(memory_format=torch.channels_last)
    assert torch.equal(to_i420_fused(channels_last), expected)
    assert torch.equal(to_i420_fused(frames[1:]), expected[1:])


def test_an_odd_picture_is_refused():
    with pytest.raises(AssertionError, match="I420 halves 3x4"):
        to_i420(torch.zeros(1, 3, 3, 4))
