"""A model of the engine's own classes that is small enough to run in milliseconds, and sound to feed it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import settings

from avacast.engine.config import AudioConfig, ClipConfig, DiTConfig, ModelConfig, PromptsConfig, VAEConfig
from avacast.engine.pipeline import Pipeline
from avacast.engine.profile import SamplerConfig, WindowConfig
from avacast.engine.sample_tail import Samples
from avacast.engine.speech_encoder import SpeechEncoder

# How long an example takes says more about the machine's other work than about the code.
settings.register_profile("engine", deadline=None)
settings.load_profile("engine")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_config() -> ModelConfig:
    return ModelConfig(
        name="tiny",
        dit=DiTConfig(
            dim=32,
            ffn_dim=64,
            num_heads=2,
            num_layers=2,
            freq_dim=32,
            latent_channels=8,
            text_dim=0,
            text_len=0,
            clip_dim=0,
            audio_in_dim=32,
            audio_num_heads=2,
            audio_num_layers=1,
            reference_on="all",
            prediction="sample",
        ),
        vae=VAEConfig(latent_channels=8, decoder_widths=(16, 16, 8, 8), encoder_width=8),
        audio=AudioConfig(
            wav2vec2={
                "hidden_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "intermediate_size": 64,
                "conv_dim": [16] * 7,
                "feat_extract_norm": "layer",
                "do_stable_layer_norm": True,
                "num_conv_pos_embeddings": 15,
                "num_conv_pos_embedding_groups": 4,
            },
            normalize=False,
            alignment="stream",
            left_context_s=0.5,
        ),
        sampler=SamplerConfig(num_steps=2, shift=3.0),
        window=WindowConfig(window=4, overlap=2, ramp="open", fuse_first_step=True),
        height=64,
        width=64,
    )


@pytest.fixture(scope="session")
def released_config() -> ModelConfig:
    """The released model's every part, each as small as it goes: text, CLIP, Wan VAE, window alignment."""
    return ModelConfig(
        name="tiny-released",
        dit=DiTConfig(
            dim=32,
            ffn_dim=64,
            num_heads=2,
            num_layers=2,
            freq_dim=32,
            text_dim=24,
            text_len=16,
            clip_dim=16,
            audio_in_dim=32,
            audio_num_heads=2,
        ),
        vae=VAEConfig(kind="wan", base_dim=8),
        clip=ClipConfig(dim=16, mlp_dim=32, num_heads=2, num_layers=3),
        prompts=PromptsConfig("talk", "blur"),
        audio=AudioConfig(
            wav2vec2={
                "hidden_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "intermediate_size": 64,
                "conv_dim": [16] * 7,
                "num_conv_pos_embeddings": 16,
                "num_conv_pos_embedding_groups": 4,
            },
        ),
        sampler=SamplerConfig(num_steps=2),
        window=WindowConfig(window=5, overlap=2),
        height=64,
        width=64,
    )


@pytest.fixture(scope="session")
def released_pipeline(released_config: ModelConfig) -> Pipeline:
    return Pipeline.with_random_weights(released_config, dtype=torch.float32)


@pytest.fixture(scope="session")
def tiny_pipeline(tiny_config: ModelConfig) -> Pipeline:
    return Pipeline.with_random_weights(tiny_config, dtype=torch.float32)


@pytest.fixture(scope="session")
def tiny_encoder(tiny_pipeline: Pipeline) -> SpeechEncoder:
    return tiny_pipeline.networks.speech_encoder


@pytest.fixture(scope="session")
def noise_3s() -> Samples:
    """Three seconds of sound without any structure to hide a mistake, 16 kHz."""
    return (0.1 * np.random.default_rng(7).standard_normal(48_000)).astype(np.float32)
