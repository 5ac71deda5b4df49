"""The Wan auto-encoder: a stream in pieces gives the whole clip, and the clip is the released one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from avacast.engine.config import VAEConfig
from avacast.engine.wan_vae import LATENTS_MEAN, LATENTS_STD, WanDecoderState, WanVAE, from_public_names


@pytest.fixture(autouse=True)
def _inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def relative_error(result: Tensor, expected: Tensor) -> float:
    assert result.shape == expected.shape
    return ((result - expected).norm() / expected.norm()).item()


def load(path: Path) -> tuple[WanVAE, dict[str, Tensor]]:
    d = json.loads(path.read_text())
    config = VAEConfig(
        kind="wan",
        latent_channels=d["z_dim"],
        latents_mean=tuple(d["latents_mean"]),
        latents_std=tuple(d["latents_std"]),
        base_dim=d["dim"],
    )
    vae = WanVAE(config).eval()
    vae.load_state_dict(from_public_names(load_file(path.with_suffix(".weights.safetensors"))), strict=True)
    return vae, load_file(path.with_suffix(".io.safetensors"))


def test_encode_matches(vae_golden: Path):
    """A video, and a reference frame followed by zeros, encode to the released latents."""
    vae, io = load(vae_golden)
    for name in ("video", "reference"):
        frames = io["video" if name == "video" else "reference_video"].transpose(1, 2) / 2 + 0.5
        assert relative_error(vae.encode_causal(frames), io[f"{name}_latents"]) < 1e-5, name


def test_decode_matches(vae_golden: Path):
    """Latents decode to the released frames."""
    vae, io = load(vae_golden)
    assert relative_error(vae.decode(io["z"]).transpose(1, 2) * 2 - 1, io["decoded"]) < 1e-5


@pytest.mark.parametrize("split", [[1, 1, 1, 1, 1], [2, 3], [1, 4]], ids=str)
def test_decoding_in_pieces_equals_the_whole(vae_golden: Path, split: list[int]):
    """Any split of the latents decodes to the frames of the whole clip."""
    vae, io = load(vae_golden)
    state: WanDecoderState | None = None
    pieces: list[Tensor] = []
    for latents in io["z"].split(split, dim=2):
        frames, state = vae.decode_step(latents, state)
        pieces.append(frames)
    assert relative_error(torch.cat(pieces, dim=1), vae.decode(io["z"])) < 1e-6


def test_a_kept_state_can_be_used_twice(vae_golden: Path):
    """A step leaves the state it was given as it was, from the first latent on."""
    vae, io = load(vae_golden)
    for num_past in (1, 2):
        _, state = vae.decode_step(io["z"][:, :, :num_past], None)
        first, _ = vae.decode_step(io["z"][:, :, 2:3], state)
        vae.decode_step(io["z"][:, :, 3:5], state)
        again, _ = vae.decode_step(io["z"][:, :, 2:3], state)
        assert torch.equal(first, again)


def test_many_latents_in_one_pass_are_the_same_frames(vae_golden: Path):
    """After the first latent, the decoder may be given any number of them at once."""
    vae, io = load(vae_golden)
    first, past = vae.decode_frames(io["z"][:, :, :1], None)
    rest, _ = vae.decode_frames(io["z"][:, :, 1:], past)
    assert relative_error(torch.cat((first, rest), dim=1), vae.decode(io["z"])) < 1e-6


def test_the_past_has_one_shape_from_the_first_step_on(vae_golden: Path):
    """What a step takes in and hands out has the same shapes, so that one captured step serves a whole stream."""
    vae, io = load(vae_golden)
    _, past = vae.decode_frames(io["z"][:, :, :1], None)
    _, later = vae.decode_frames(io["z"][:, :, 1:3], past)
    assert [x.shape for x in past] == [x.shape for x in later]
    assert {x.shape[2] for x in past} == {2}


def test_it_computes_what_diffusers_does():
    """With the same weights, at another width and size than the goldens': encoder, decoder and every name."""
    from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan

    torch.manual_seed(5)
    theirs = AutoencoderKLWan(base_dim=8, z_dim=4).eval()
    vae = WanVAE(VAEConfig(kind="wan", base_dim=8, latent_channels=4, latents_mean=(0.0,) * 4, latents_std=(1.0,) * 4))
    vae.network.load_state_dict(theirs.state_dict(), strict=True)
    video = torch.rand(2, 9, 3, 24, 40)
    latents = vae.encode_causal(video)
    assert relative_error(latents, theirs.encode(video.transpose(1, 2) * 2 - 1).latent_dist.mode()) < 1e-5
    assert relative_error(vae.decode(latents).transpose(1, 2) * 2 - 1, theirs.decode(latents).sample) < 1e-5


def test_channels_last_memory_changes_no_frame(vae_golden: Path):
    """The layout that a GPU prefers gives the frames of the plain one."""
    vae, io = load(vae_golden)
    expected = vae.decode(io["z"])
    vae.network.to_channels_last()
    assert relative_error(vae.decode(io["z"]), expected) < 1e-5


def test_the_built_in_scale_is_the_released_one(vae_golden: Path):
    """Mean and deviation used where a configuration names none are those of the release."""
    d = json.loads(vae_golden.read_text())
    assert d["latents_mean"] == pytest.approx(LATENTS_MEAN)
    assert d["latents_std"] == pytest.approx(LATENTS_STD)


def test_every_public_tensor_of_the_auto_encoder_is_placed(stableavatar_golden: Path):
    """At full size, converted names and shapes are exactly the network's."""
    released = json.loads(stableavatar_golden.read_text())["tensors"]["vae"]
    with torch.device("meta"):
        weights = {name: torch.empty(shape) for name, shape in released.items()}
        expected = {name: tensor.shape for name, tensor in WanVAE(VAEConfig(kind="wan")).state_dict().items()}
    assert {name: tensor.shape for name, tensor in from_public_names(weights).items()} == expected
