from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d, WanRMS_norm
from torch import Tensor
from torch.nn import functional as F

from avacast.kernels.vae_norm import norm_silu, norm_silu_causal, norm_silu_causal_fused, norm_silu_fused

LAYOUTS = {
    "contiguous": lambda x: x,
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last_3d),
    "frame_by_frame": lambda x: x.transpose(1, 2).contiguous().transpose(1, 2),
    "turned": lambda x: x.transpose(3, 4).contiguous().transpose(3, 4),
}
"""How a decoder's layers leave their frames in memory; the last is only there to be copied."""

every_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
Layout = Callable[[Tensor], Tensor]


def frames(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def gamma_of(channels: int) -> Tensor:
    return frames(channels, 1, 1, 1, seed=99)


def test_the_reference_is_diffusers_norm_and_silu():
    x, norm = frames(2, 6, 3, 4, 5), WanRMS_norm(6, images=False)
    norm.gamma.data.copy_(gamma_of(6))
    with torch.no_grad():
        torch.testing.assert_close(norm_silu(x, norm.gamma), F.silu(norm(x)), rtol=1e-6, atol=1e-6)


def test_a_stream_of_steps_convolves_as_the_whole_clip_does():
    """What a step returns is all that the convolution needs, and its end all that the next step needs."""
    x, gamma, conv = frames(1, 6, 7, 4, 5), gamma_of(6), WanCausalConv3d(6, 2, 3, padding=1)
    past = torch.zeros(1, 6, 2, 4, 5)
    heard: list[Tensor] = []
    with torch.no_grad():
        whole = conv(norm_silu(x, gamma))
        for piece in x.split((1, 4, 2), dim=2):
            extended = norm_silu_causal(piece, gamma, past)
            heard.append(F.conv3d(extended, conv.weight, conv.bias, padding=(0, 1, 1)))
            past = extended[:, :, -2:]
    torch.testing.assert_close(torch.cat(heard, dim=2), whole, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("interpreted")
@every_layout
@pytest.mark.parametrize("shape", [(1, 1, 1, 1, 1), (2, 5, 2, 3, 7), (1, 96, 1, 9, 11)])
def test_the_kernel_norms_frames_of_any_size_and_layout(
    shape: tuple[int, ...], layout: Layout, agree: Callable[..., None]
):
    """One cell, channels below a block and at the decoder's width, cells that are no multiple of a tile."""
    x, gamma = layout(frames(*shape)), gamma_of(shape[1])
    agree(norm_silu_fused(x, gamma), norm_silu(x, gamma))


@pytest.mark.usefixtures("interpreted")
@every_layout
@pytest.mark.parametrize("num_past", [1, 2])
def test_the_kernel_lays_the_past_in_front(num_past: int, layout: Layout, agree: Callable[..., None]):
    """Copied bit for bit, whatever its layout is."""
    x, gamma = frames(2, 5, 3, 4, 7), gamma_of(5)
    past = layout(frames(2, 5, num_past, 4, 7, seed=1))
    extended = norm_silu_causal_fused(x, gamma, past)
    assert torch.equal(extended[:, :, :num_past], past)
    agree(extended, norm_silu_causal(x, gamma, past))


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize("name", ["contiguous", "channels_last"])
def test_the_kernel_keeps_the_layout_for_the_convolution(name: str):
    expected = torch.channels_last_3d if name == "channels_last" else torch.contiguous_format
    x, past = (LAYOUTS[name](frames(2, 5, num_frames, 4, 6)) for num_frames in (3, 2))
    assert norm_silu_causal_fused(x, gamma_of(5), past).is_contiguous(memory_format=expected)


@pytest.mark.usefixtures("interpreted")
def test_a_cell_of_zeros_stays_zero():
    """The norm of nothing is nothing, not a division by zero."""
    assert torch.equal(norm_silu_fused(torch.zeros(1, 3, 1, 2, 2), gamma_of(3)), torch.zeros(1, 3, 1, 2, 2))


def test_a_past_of_another_picture_is_refused():
    with pytest.raises(AssertionError, match=r"\(1, 3, 1, 2, 2\), \(1, 3, 2, 2, 4\)"):
        norm_silu_causal_fused(torch.zeros(1, 3, 1, 2, 2), gamma_of(3), torch.zeros(1, 3, 2, 2, 4))
