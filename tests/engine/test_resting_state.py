"""The Wan decoder's state between two windows: how large it is, and that the frames do not change by it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from avacast.engine.config import VAEConfig
from avacast.engine.presets import STABLEAVATAR_1_3B
from avacast.engine.resting_state import PackedTensor, RestingState, at_rest, awake, num_bytes
from avacast.engine.tiny_vae import StreamState
from avacast.engine.wan_vae import WanDecoderState, WanVAE


def full_size(batch: int = 1) -> WanDecoderState:
    """What the released decoder remembers at 512x512, without values."""
    with torch.device("meta"):
        vae = WanVAE(STABLEAVATAR_1_3B.vae).to("meta", torch.bfloat16)
        latent = torch.empty(batch, 16, 1, 64, 64, dtype=torch.bfloat16)
        return vae.decode_step(latent, None)[1]


def test_a_further_session_takes_less_than_a_gigabyte():
    """1.24 GB become 0.93 at rest; with keys and values of a picture of its own, 47 MB, that is below 1 GB."""
    state = full_size()
    assert len(state.past) == 32
    assert num_bytes(state) == 1_239_678_976
    resting = num_bytes(RestingState.of(state))
    dit = STABLEAVATAR_1_3B.dit
    picture = 2 * dit.num_layers * 257 * dit.dim * 2
    lines = 4 * 16 * 9 * 64 * 64 * 4
    print(f"at rest {resting / 1e9:.3f} GB, picture {picture / 1e9:.3f} GB, latents {lines / 1e9:.3f} GB")
    assert resting == pytest.approx(0.75 * 1_239_678_976, rel=1e-6)
    assert resting + picture + lines < 1_000_000_000


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d], ids=str)
def test_a_tensor_wakes_as_it_was(layout: torch.memory_format):
    """Values, shape and layout in memory; numbers far below the largest lose what bfloat16 keeps of them."""
    x = torch.randn(2, 6, 2, 5, 4).to(torch.bfloat16).contiguous(memory_format=layout)
    back = PackedTensor.of(x).unpacked()
    assert (back.shape, back.stride(), back.dtype) == (x.shape, x.stride(), x.dtype)
    assert (back.float() - x.float()).abs().max() <= x.float().abs().max() * 2.0**-22
    assert torch.equal(back[x.abs() > 2.0**-10], x[x.abs() > 2.0**-10])


def test_a_stream_that_rests_between_windows_shows_the_same():
    """Its frames lie 60 dB and more from those of one that does not."""
    torch.manual_seed(0)
    vae = WanVAE(VAEConfig(kind="wan", base_dim=16)).to(torch.bfloat16).eval()
    latents = torch.randn(1, 16, 6, 4, 4).to(torch.bfloat16)

    def shown(*, resting: bool) -> Tensor:
        state, pieces = None, []
        for latent in latents.split(1, dim=2):
            frames, state = vae.decode_step(latent, state)
            if resting:
                woken = awake(at_rest(state))
                assert isinstance(woken, WanDecoderState)
                state = woken
            pieces.append(frames.float())
        return torch.cat(pieces, dim=1)

    with torch.inference_mode():
        plain, rested = shown(resting=False), shown(resting=True)
    error = (plain - rested).square().mean()
    print(f"mean square {error:.1e} of frames with deviation {plain.std():.2f}")
    assert error <= 1e-6 * plain.var()
    assert plain.std() > 0.01


def test_other_states_stay_as_they_are():
    """The tiny decoder's is small; what is not bfloat16 has no twelve bits that would do."""
    small = StreamState((torch.ones(2),))
    assert at_rest(small) is small
    assert awake(None) is None
    exact = WanDecoderState((torch.randn(1, 2, 2, 3, 3),))
    woken = awake(at_rest(exact))
    assert isinstance(woken, WanDecoderState)
    assert woken.past[0] is exact.past[0]
