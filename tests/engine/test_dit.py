"""The diffusion transformer against the released one, number for number."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from avacast.engine.audio_split import window_split
from avacast.engine.config import DiTConfig
from avacast.engine.dit import DiT
from avacast.engine.presets import POCKET, STABLEAVATAR_1_3B

TOLERANCE = 1e-5


@dataclass
class Case:
    """A golden network and its inputs."""

    config: DiTConfig
    dit: DiT
    io: dict[str, Tensor]
    audio: Tensor
    audio_mask: Tensor

    def text(self, name: str) -> Tensor:
        """The text of that name, zero-padded to the model's length."""
        states = self.io[name]
        return F.pad(states, (0, 0, 0, self.config.text_len - states.shape[0]))[None]

    def unmasked(self) -> DiT:
        """The same weights, attending to audio padding as well."""
        dit = DiT(replace(self.config, mask_audio_padding=False))
        dit.load_state_dict(self.dit.state_dict())
        return dit


@pytest.fixture
def case(dit_golden: Path) -> Case:
    description = json.loads(dit_golden.read_text())
    model = description["model"]
    known = {field.name for field in fields(DiTConfig)}
    config = DiTConfig.from_dict({k: v for k, v in model.items() if k in known} | {"latent_channels": model["out_dim"]})
    assert (config.in_dim, config.dim) == (model["in_dim"], model["audio_proj_dim"])
    dit = DiT(config)
    dit.load_state_dict(load_file(dit_golden.with_suffix(".weights.safetensors")), strict=True)
    io = load_file(dit_golden.with_suffix(".io.safetensors"))
    index, mask = window_split(io["audio"].shape[1], description["video_frames"], margin=4)
    assert mask.sum(1).tolist() == io["adapter_lens"].tolist()
    return Case(config, dit, io, io["audio"][:, index], mask.expand(io["x"].shape[0], -1, -1))


@pytest.fixture(autouse=True)
def _inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def relative_error(result: Tensor, expected: Tensor) -> float:
    assert result.shape == expected.shape
    return ((result - expected).norm() / expected.norm()).item()


def conditional_pass(case: Case, dit: DiT) -> Tensor:
    io = case.io
    return dit(io["x"], io["t"], io["y"], case.audio, case.audio_mask, case.text("text"), io["clip_fea"])


def three_branches(case: Case, dit: DiT) -> Tensor:
    """[negative text, no audio], [negative text, audio], [text, audio], the adapter run once for all."""
    io = case.io
    context = dit.adapt_audio(io["x"], io["t"], io["y"], case.audio, case.audio_mask)
    text = torch.cat((case.text("neg_text"), case.text("neg_text"), case.text("text")))
    x, t, y, mask, image = (
        tensor.repeat(3, *[1] * (tensor.ndim - 1))
        for tensor in (io["x"], io["t"], io["y"], case.audio_mask, io["clip_fea"])
    )
    return dit.denoise(x, t, y, torch.cat((torch.zeros_like(context), context, context)), mask, text, image)


def test_a_pass_with_padding_masked_matches(case: Case):
    """One conditional pass as the model was trained: audio padding is not attended to."""
    assert relative_error(conditional_pass(case, case.dit), case.io["out_masked"]) < TOLERANCE


def test_a_pass_with_padding_unmasked_matches(case: Case):
    """One conditional pass as the released code runs without flash-attention: padding is attended to."""
    assert relative_error(conditional_pass(case, case.unmasked()), case.io["out_unmasked"]) < TOLERANCE


def test_three_branches_match(case: Case):
    """The released guidance batch, whose first branch has a zero audio context after the adapter."""
    assert relative_error(three_branches(case, case.dit), case.io["out3_masked"]) < TOLERANCE
    assert relative_error(three_branches(case, case.unmasked()), case.io["out3_unmasked"]) < TOLERANCE


def test_bfloat16_stays_near_float32(case: Case):
    """The network runs in bfloat16 throughout, and its output stays within the precision of that format."""
    io = case.io
    low = DiT(case.config)
    low.load_state_dict(case.dit.state_dict())
    low.to(torch.bfloat16)
    arguments = (io["x"], io["t"], io["y"], case.audio, case.audio_mask, case.text("text"), io["clip_fea"])
    result = low(*(x if x.dtype == torch.bool or x.ndim == 1 else x.bfloat16() for x in arguments))
    assert result.dtype == torch.bfloat16
    assert relative_error(result.float(), io["out_masked"]) < 0.03


def test_parameters_are_named_as_in_the_public_checkpoint(stableavatar_golden: Path):
    """The 1.3B network has exactly the released tensors, by name and shape."""
    with torch.device("meta"):
        dit = DiT(STABLEAVATAR_1_3B.dit)
    released = json.loads(stableavatar_golden.read_text())["tensors"]["transformer"]
    assert {name: list(tensor.shape) for name, tensor in dit.state_dict().items()} == released


SMALL = replace(POCKET.dit, motion_dim=0, dim=48, ffn_dim=64, num_heads=4, num_layers=2, freq_dim=16, audio_in_dim=24)


def small_inputs(config: DiTConfig, seed: int = 0) -> tuple[Tensor, ...]:
    """latents, timestep, reference, audio, audio_mask for a window of 3 latent frames of 8x8 cells."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    channels, tokens = config.latent_channels, 16
    mask = torch.ones(2, 3, tokens, dtype=torch.bool)
    reference = normal(2, 4 + channels, 3, 8, 8)
    return normal(2, channels, 3, 8, 8), torch.tensor([800.0, 30.0]), reference, normal(2, 3, tokens, 24), mask


def awake(config: DiTConfig) -> DiT:
    """A network whose head does not begin at zero."""
    torch.manual_seed(1)
    dit = DiT(config)
    torch.nn.init.normal_(dit.head.head.weight, std=0.1)
    return dit


def test_a_model_without_text_and_image_has_no_such_weights():
    """With widths of zero, the text and image parts do not exist."""
    dit = DiT(SMALL)
    assert not hasattr(dit, "text_embedding")
    assert not hasattr(dit, "img_emb")
    parts = {name.split(".")[0] for name in dit.blocks[0].cross_attn.state_dict()}
    assert parts == {"q", "norm_q", "k_vocal", "v_vocal", "o"}


def test_batch_entries_do_not_touch_each_other():
    """A batch gives what its entries give one by one, each with its own timestep."""
    dit, inputs = awake(SMALL), small_inputs(SMALL)
    apart = torch.cat([dit(*(x[i : i + 1] for x in inputs)) for i in range(2)])
    assert relative_error(dit(*inputs), apart) < TOLERANCE


def test_padded_audio_is_not_heard():
    """What stands in a padded token has no influence on the output."""
    dit = awake(SMALL)
    latents, timestep, reference, audio, mask = small_inputs(SMALL)
    mask = mask.clone()
    mask[:, :, 9:] = False
    other = torch.where(mask[..., None], audio, torch.full_like(audio, 7.0))
    plain = dit(latents, timestep, reference, audio, mask)
    assert torch.equal(dit(latents, timestep, reference, other, mask), plain)
    assert not torch.equal(dit(latents, timestep, reference, audio.flip(2), mask), plain)


def test_a_latent_frame_without_any_token_gives_numbers():
    """A frame whose tokens are all padding hears nothing, and the output stays finite."""
    dit = awake(SMALL)
    latents, timestep, reference, audio, mask = small_inputs(SMALL)
    assert dit(latents, timestep, reference, audio, torch.zeros_like(mask)).isfinite().all()


def test_rotary_tables_survive_a_cast_and_the_meta_device():
    """Casting the network never rounds its angles, and a network built on the meta device has them."""
    expected = DiT(SMALL).rope.cos
    assert torch.equal(DiT(SMALL).to(torch.bfloat16).rope.cos, expected)
    with torch.device("meta"):
        dit = DiT(SMALL)
    dit.load_state_dict(DiT(SMALL).state_dict(), assign=True)
    assert torch.equal(dit.rope.cos, expected)


def test_the_network_can_be_exported():
    """torch.export captures the whole forward as one graph, which computes the same."""
    dit, inputs = awake(SMALL), small_inputs(SMALL)
    exported = torch.export.export(dit, inputs).module()
    assert relative_error(exported(*inputs), dit(*inputs)) < TOLERANCE
