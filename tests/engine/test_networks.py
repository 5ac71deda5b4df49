from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from avacast.engine.config import ModelConfig, VAEConfig
from avacast.engine.guidance import Guidance
from avacast.engine.networks import Networks
from avacast.engine.pipeline import Pipeline


@pytest.mark.parametrize("prediction", ["velocity", "sample", "residual"])
def test_the_velocity_leads_to_what_the_last_layer_means(tiny_config: ModelConfig, prediction: str):
    """It is the output itself, or, down to sigma 0, leads to the predicted sample or to reference plus output."""
    config = replace(tiny_config, dit=replace(tiny_config.dit, prediction=prediction))
    networks = Pipeline.with_random_weights(config, dtype=torch.float32).networks
    torch.manual_seed(0)
    latents, reference = torch.randn(1, 8, 4, 8, 8), torch.randn(12, 4, 8, 8)
    conditions = networks.conditions(reference, torch.randn(4, 16, 32), torch.ones(4, 16).bool())
    sigma, timestep = torch.tensor(0.5), torch.tensor(500.0)
    output = networks.dit(latents, timestep[None], conditions.reference, conditions.audio, conditions.audio_mask)
    velocity = networks.velocity(latents, sigma, timestep, conditions)
    if prediction == "velocity":
        assert torch.equal(velocity, output)
    else:
        sample = output + reference[None, 4:] if prediction == "residual" else output
        torch.testing.assert_close(latents - sigma * velocity, sample)


def test_runs_in_bfloat16_with_speech_features_in_float32(tiny_config: ModelConfig):
    networks = Networks.build(tiny_config).for_inference("cpu", torch.bfloat16)
    assert networks.dtype == torch.bfloat16
    assert {p.dtype for p in networks.vae.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in networks.speech_encoder.parameters()} == {torch.float32}
    assert not any(module.training for module in (networks.dit, networks.vae, networks.speech_encoder))


def test_text_and_picture_reach_the_velocity(released_pipeline: Pipeline):
    networks = released_pipeline.networks
    torch.manual_seed(0)
    latents, reference = torch.randn(1, 16, 3, 8, 8), torch.randn(20, 3, 8, 8)
    image = networks.see(torch.rand(3, 64, 64))
    assert image is not None
    assert image.shape == (1, 257, 16)
    conditions = networks.conditions(reference, torch.randn(3, 16, 32), torch.ones(3, 16).bool(), image=image)
    moment = torch.tensor(0.5), torch.tensor(500.0)
    plain = networks.velocity(latents, *moment, conditions)
    assert conditions.text is not None
    for other in (replace(conditions, image=image + 1), replace(conditions, text=conditions.negative_text)):
        assert not torch.equal(networks.velocity(latents, *moment, other), plain)


def test_guidance_without_scales_is_the_plain_velocity(released_pipeline: Pipeline):
    networks = released_pipeline.networks
    torch.manual_seed(0)
    latents, audio = torch.randn(1, 16, 3, 8, 8), torch.randn(3, 16, 32)
    conditions = networks.conditions(
        torch.randn(20, 3, 8, 8),
        audio,
        torch.ones(3, 16).bool(),
        image=networks.see(torch.rand(3, 64, 64)),
        silence=torch.zeros_like(audio),
    )
    moment = torch.tensor(0.5), torch.tensor(500.0)
    plain = networks.velocity(latents, *moment, conditions)
    for guidance in (Guidance.none(), Guidance.cfg(1, 1), Guidance.audio_native(0, 0)):
        torch.testing.assert_close(networks.guided_velocity(guidance, latents, *moment, conditions), plain)
    strong = networks.guided_velocity(Guidance.audio_native(1, 1), latents, *moment, conditions)
    assert not torch.allclose(strong, plain)


def test_a_live_auto_encoder_decodes_in_place_of_the_other(released_config: ModelConfig):
    live = VAEConfig(decoder_widths=(8, 8, 8, 8), encoder_width=8)
    networks = Pipeline.with_random_weights(replace(released_config, live_vae=live), dtype=torch.float32).networks
    latents = torch.randn(1, 16, 2, 8, 8)
    assert networks.live_vae is not None
    assert torch.equal(networks.decode(latents, None)[0], networks.live_vae.decode(latents)[0])
    without = replace(networks, live_vae=None)
    assert torch.equal(without.decode(latents, None)[0], networks.vae.decode(latents)[0])
