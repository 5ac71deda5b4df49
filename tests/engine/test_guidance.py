"""Guidance: which branches run, how they are weighed, and the identities that every scale must keep."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from avacast.engine.audio_split import window_split
from avacast.engine.config import DiTConfig
from avacast.engine.dit import DiT
from avacast.engine.errors import BadSetting
from avacast.engine.guidance import Branch, Conditioning, Guidance, guided_pass
from avacast.engine.presets import POCKET

SMALL = replace(
    POCKET.dit,
    dim=48,
    ffn_dim=64,
    num_heads=4,
    num_layers=2,
    freq_dim=16,
    audio_in_dim=24,
    text_dim=8,
    text_len=5,
    motion_dim=0,
)


@pytest.fixture(autouse=True)
def _inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture
def dit() -> DiT:
    torch.manual_seed(1)
    dit = DiT(SMALL)
    torch.nn.init.normal_(dit.head.head.weight, std=0.1)
    return dit


@pytest.fixture
def latents() -> Tensor:
    return torch.randn((1, 16, 3, 8, 8), generator=torch.Generator().manual_seed(2))


TIMESTEP = torch.tensor([700.0])


@pytest.fixture
def conditioning() -> Conditioning:
    generator = torch.Generator().manual_seed(3)
    mask = torch.ones(1, 3, 16, dtype=torch.bool)
    mask[:, 0, 9:] = False
    return Conditioning(
        reference=torch.randn((1, 20, 3, 8, 8), generator=generator),
        audio=torch.randn((1, 3, 16, 24), generator=generator),
        audio_mask=mask,
        text=torch.randn((1, 5, 8), generator=generator),
        negative_text=torch.randn((1, 5, 8), generator=generator),
        silence=torch.randn((1, 3, 16, 24), generator=generator),
    )


def one_pass(dit: DiT, latents: Tensor, c: Conditioning, text: Tensor | None, context: Tensor) -> Tensor:
    return dit.denoise(latents, TIMESTEP, c.reference, context, c.audio_mask, text)


def adapted(dit: DiT, latents: Tensor, c: Conditioning, audio: Tensor | None) -> Tensor:
    assert audio is not None
    return dit.adapt_audio(latents, TIMESTEP, c.reference, audio, c.audio_mask)


def plain(dit: DiT, latents: Tensor, c: Conditioning) -> Tensor:
    return dit(latents, TIMESTEP, c.reference, c.audio, c.audio_mask, c.text)


def deafen(dit: DiT) -> None:
    """Makes the network ignore audio: whatever it hears contributes nothing."""
    for block in dit.blocks:
        torch.nn.init.zeros_(block.cross_attn.v_vocal.weight)
        torch.nn.init.zeros_(block.cross_attn.v_vocal.bias)


def test_no_guidance_is_one_plain_pass(dit: DiT, latents: Tensor, conditioning: Conditioning):
    """Without guidance the network runs once, on prompt and voice."""
    result = guided_pass(dit, Guidance.none(), latents, TIMESTEP, conditioning)
    torch.testing.assert_close(result, plain(dit, latents, conditioning))


def test_cfg_is_the_released_formula(dit: DiT, latents: Tensor, conditioning: Conditioning):
    """v1 + s_a (v2 - v1) + s_t (v3 - v2), each branch computed by itself."""
    c = conditioning
    context = adapted(dit, latents, c, c.audio)
    v1 = one_pass(dit, latents, c, c.negative_text, torch.zeros_like(context))
    v2 = one_pass(dit, latents, c, c.negative_text, context)
    v3 = one_pass(dit, latents, c, c.text, context)
    result = guided_pass(dit, Guidance.cfg(audio_scale=4.0, text_scale=3.0), latents, TIMESTEP, c)
    torch.testing.assert_close(result, v1 + 4.0 * (v2 - v1) + 3.0 * (v3 - v2), rtol=1e-4, atol=1e-4)


def test_audio_native_with_both_scales_zero_is_one_plain_pass(dit: DiT, latents: Tensor, conditioning: Conditioning):
    """First identity: alpha = beta = 0 runs one branch, and gives the plain pass."""
    guidance = Guidance.audio_native(alpha=0.0, beta=0.0)
    assert guidance.branches == (Branch("prompt", "voice"),)
    result = guided_pass(dit, guidance, latents, TIMESTEP, conditioning)
    torch.testing.assert_close(result, plain(dit, latents, conditioning))


def test_audio_native_with_alpha_alone_is_the_combination_by_hand(
    dit: DiT, latents: Tensor, conditioning: Conditioning
):
    """Second identity: (1 + alpha) v(voice) - alpha v(silence), silence through the adapter."""
    c, alpha = conditioning, 1.5
    voice = one_pass(dit, latents, c, c.text, adapted(dit, latents, c, c.audio))
    silence = one_pass(dit, latents, c, c.text, adapted(dit, latents, c, c.silence))
    result = guided_pass(dit, Guidance.audio_native(alpha, beta=0.0), latents, TIMESTEP, c)
    torch.testing.assert_close(result, (1 + alpha) * voice - alpha * silence, rtol=1e-4, atol=1e-4)


def test_audio_native_with_beta_alone_is_the_combination_by_hand(dit: DiT, latents: Tensor, conditioning: Conditioning):
    """(1 + beta) v(voice) - beta v(none), none being a zero context after the adapter."""
    c, beta = conditioning, 0.7
    context = adapted(dit, latents, c, c.audio)
    voice, none = (one_pass(dit, latents, c, c.text, x) for x in (context, torch.zeros_like(context)))
    result = guided_pass(dit, Guidance.audio_native(0.0, beta), latents, TIMESTEP, c)
    torch.testing.assert_close(result, (1 + beta) * voice - beta * none, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (0.0, 2.0), (3.0, 1.5)])
def test_a_model_that_ignores_audio_gives_the_plain_pass(
    dit: DiT, latents: Tensor, conditioning: Conditioning, alpha: float, beta: float
):
    """Third identity: where audio has no effect, audio-native guidance has none at any scale."""
    deafen(dit)
    result = guided_pass(dit, Guidance.audio_native(alpha, beta), latents, TIMESTEP, conditioning)
    torch.testing.assert_close(result, plain(dit, latents, conditioning), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("guidance", "num_branches"),
    [
        (Guidance.cfg(3.0, 5.0), 3),
        (Guidance.cfg(3.0, 3.0), 2),
        (Guidance.cfg(1.0, 3.0), 2),
        (Guidance.cfg(1.0, 1.0), 1),
        (Guidance.cfg(3.0, 5.0, has_text=False), 2),
        (Guidance.cfg(1.0, 5.0, has_text=False), 1),
        (Guidance.audio_native(1.0, 1.0), 3),
        (Guidance.audio_native(1.0, 0.0), 2),
    ],
)
def test_only_the_needed_branches_run(
    dit: DiT, latents: Tensor, conditioning: Conditioning, guidance: Guidance, num_branches: int
):
    """The transformer is called once, on a batch of exactly the branches whose weight is not zero."""
    batches: list[int] = []
    dit.head.register_forward_pre_hook(lambda _, arguments: batches.append(arguments[0].shape[0]))
    guided_pass(dit, guidance, latents, TIMESTEP, conditioning)
    assert batches == [num_branches]
    assert sum(weight for _, weight in guidance.weights) == pytest.approx(1)


def test_a_scale_that_is_not_finite_is_refused():
    """A scale of NaN or infinity is a mistake, said at once."""
    with pytest.raises(BadSetting, match="alpha"):
        Guidance.audio_native(float("nan"), 0.0)
    with pytest.raises(BadSetting, match="text_scale"):
        Guidance.cfg(1.0, float("inf"))


def test_cfg_combines_the_released_branches(dit_golden: Path):
    """On the golden network, a guided pass is the released combination of the golden branches."""
    description = json.loads(dit_golden.read_text())
    known = {field.name for field in fields(DiTConfig)}
    config = DiTConfig.from_dict({k: v for k, v in description["model"].items() if k in known})
    golden = DiT(config)
    golden.load_state_dict(load_file(dit_golden.with_suffix(".weights.safetensors")))
    io = load_file(dit_golden.with_suffix(".io.safetensors"))
    index, mask = window_split(io["audio"].shape[1], description["video_frames"], margin=4)
    prompt, negative = (F.pad(io[n], (0, 0, 0, config.text_len - len(io[n])))[None] for n in ("text", "neg_text"))
    conditioning = Conditioning(io["y"], io["audio"][:, index], mask[None], prompt, io["clip_fea"], negative)
    result = guided_pass(golden, Guidance.cfg(5.0, 3.0), io["x"], io["t"], conditioning)
    v1, v2, v3 = io["out3_masked"].chunk(3)
    expected = v1 + 5.0 * (v2 - v1) + 3.0 * (v3 - v2)
    assert (result - expected).norm() / expected.norm() < 1e-5
