"""The tiny auto-encoder: a stream in pieces gives the whole clip, and the clip is the public one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from avacast.engine.config import VAEConfig
from avacast.engine.tiny_vae import DecoderState, EncoderState, TinyVAE, relu_

SMALL = VAEConfig(decoder_widths=(16, 8, 8, 4), encoder_width=8)


@pytest.fixture(autouse=True)
def _inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture
def vae() -> TinyVAE:
    torch.manual_seed(0)
    return TinyVAE(SMALL)


def relative_error(result: Tensor, expected: Tensor) -> float:
    assert result.shape == expected.shape
    return ((result - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("split", [[6], [1] * 6, [2, 2, 2], [1, 5], [3, 1, 2]], ids=str)
def test_decoding_in_pieces_equals_the_whole(vae: TinyVAE, split: list[int]):
    """Any split of the latents decodes to the frames of the whole clip, for every entry of a batch."""
    latents = torch.randn(2, 16, 6, 4, 5)
    whole = vae.decode(latents)
    assert whole.shape == (2, 21, 3, 32, 40)
    state: DecoderState | None = None
    pieces: list[Tensor] = []
    for piece in latents.split(split, dim=2):
        frames, state = vae.decode_step(piece, state)
        assert frames.shape[1] == 4 * piece.shape[2] - (0 if pieces else 3)
        pieces.append(frames)
    assert relative_error(torch.cat(pieces, dim=1), whole) < 1e-5


@pytest.mark.parametrize("split", [[12], [4, 4, 4], [8, 4]], ids=str)
def test_encoding_in_pieces_equals_the_whole(vae: TinyVAE, split: list[int]):
    """Any split into whole groups of four frames encodes to the latents of the whole clip."""
    frames = torch.rand(2, 12, 3, 16, 24)
    state: EncoderState | None = None
    pieces: list[Tensor] = []
    for piece in frames.split(split, dim=1):
        latents, state = vae.encode_step(piece, state)
        pieces.append(latents)
    assert relative_error(torch.cat(pieces, dim=2), vae.encode(frames)) < 1e-5


def test_a_kept_state_can_be_used_twice(vae: TinyVAE):
    """A step leaves the state it was given as it was, so a stream can go on from it in two ways."""
    latents = torch.randn(1, 16, 3, 4, 4)
    _, state = vae.decode_step(latents[:, :, :2], None)
    first, _ = vae.decode_step(latents[:, :, 2:], state)
    vae.decode_step(torch.randn(1, 16, 2, 4, 4), state)
    again, _ = vae.decode_step(latents[:, :, 2:], state)
    assert torch.equal(first, again)


def test_the_state_does_not_hold_on_to_the_piece(vae: TinyVAE):
    """The memory of a state is that of one frame at each memory block, however long the piece was."""
    _, short = vae.decode_step(torch.randn(1, 16, 1, 4, 4), None)
    _, long = vae.decode_step(torch.randn(1, 16, 8, 4, 4), None)
    assert [x.untyped_storage().nbytes() for x in short.past] == [x.untyped_storage().nbytes() for x in long.past]


def test_decoding_is_causal(vae: TinyVAE):
    """A later latent changes no earlier frame: latent f begins to show at frame 4f-3."""
    latents = torch.randn(1, 16, 4, 4, 4)
    before = vae.decode(latents)
    latents[:, :, 2] += 1
    changed = (vae.decode(latents) != before).flatten(2).any(2)[0]
    assert not changed[:5].any()
    assert changed[5:].any()


def test_encode_causal_is_aligned_with_decode(vae: TinyVAE):
    """Latent f sees the frames up to 4f and no later one, so that encoding and decoding keep time."""
    frames = torch.rand(1, 13, 3, 16, 16)
    before = vae.encode_causal(frames)
    assert vae.decode(before).shape == frames.shape
    frames[:, 5] = 1 - frames[:, 5]
    changed = (vae.encode_causal(frames) != before).flatten(3).any(3)[0].any(0)
    assert changed.tolist() == [False, False, True, True]


def test_a_ragged_clip_is_filled_with_its_last_frame(vae: TinyVAE):
    """Frames beyond a multiple of four are encoded as if the last stood still."""
    frames = torch.rand(1, 6, 3, 16, 16)
    filled = torch.cat((frames, frames[:, -1:], frames[:, -1:]), dim=1)
    assert torch.equal(vae.encode(frames), vae.encode(filled))


def test_mean_and_scale_are_undone(vae: TinyVAE):
    """Latents leave the encoder normalised per channel, and the decoder takes them so."""
    scaled = TinyVAE(VAEConfig(**SMALL.to_dict() | {"latents_mean": (0.5,) * 16, "latents_std": (2.0,) * 16}))
    scaled.load_state_dict(vae.state_dict())
    frames = torch.rand(1, 8, 3, 16, 16)
    raw = vae.encode(frames)
    assert relative_error(scaled.encode(frames), (raw - 0.5) / 2) < 1e-5
    assert relative_error(scaled.decode((raw - 0.5) / 2), vae.decode(raw)) < 1e-5


def test_encode_and_decode_match_the_public_layout(taehv_golden: Path):
    """Weights of the public names and shapes give the public numbers, encoded and decoded."""
    description = json.loads(taehv_golden.read_text())
    vae = TinyVAE(
        VAEConfig(
            latent_channels=description["latent_channels"],
            decoder_widths=tuple(description["decoder_widths"]),
            encoder_width=description["encoder_width"],
        )
    )
    vae.load_state_dict(load_file(taehv_golden.with_suffix(".weights.safetensors")), strict=True)
    io = load_file(taehv_golden.with_suffix(".io.safetensors"))
    assert relative_error(vae.encode(io["frames"]), io["encoded"].transpose(1, 2)) < 1e-4
    assert relative_error(vae.decode(io["z"].transpose(1, 2)), io["decoded"]) < 1e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_relu_is_in_place_and_exact(dtype: torch.dtype) -> None:
    """Everything below zero becomes zero, whatever the number type and layout; the rest stays to the bit."""
    values = torch.cat((torch.linspace(-3, 3, 1001), torch.tensor([-0.0, 0.0, torch.inf, -torch.inf, 1e-30, -1e-30])))
    x = values.to(dtype).view(1, 19, 53, 1).to(memory_format=torch.channels_last)
    expected = torch.relu(x)
    with torch.inference_mode():
        assert relu_(x) is x
    assert torch.equal(x, expected)
