"""Models of the engine's own classes with every part that is exported, each small enough to trace in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from avacast.engine.bundle import write_bundle
from avacast.engine.config import (
    AudioConfig,
    ClipConfig,
    DiTConfig,
    ModelConfig,
    PromptsConfig,
    VAEConfig,
)
from avacast.engine.pipeline import Pipeline
from avacast.engine.portrait import Picture
from avacast.engine.profile import SamplerConfig, WindowConfig
from avacast.engine.sample_tail import Samples

_DIT = {
    "dim": 32,
    "ffn_dim": 64,
    "num_heads": 2,
    "num_layers": 1,
    "freq_dim": 32,
    "audio_in_dim": 32,
    "audio_num_heads": 2,
    "audio_num_layers": 1,
}
_WAV2VEC2 = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 15,
    "num_conv_pos_embedding_groups": 4,
}


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def small_config() -> ModelConfig:
    """In the manner of the pocket model: no text, no CLIP, head motion, the tiny auto-encoder, a stream of sound."""
    return ModelConfig(
        name="small",
        dit=DiTConfig(
            **_DIT,
            latent_channels=8,
            text_dim=0,
            text_len=0,
            clip_dim=0,
            motion_dim=32,
            reference_on="all",
            prediction="residual",
        ),
        vae=VAEConfig(latent_channels=8, decoder_widths=(16, 16, 8, 8), encoder_width=8),
        audio=AudioConfig(
            wav2vec2=_WAV2VEC2 | {"feat_extract_norm": "layer", "do_stable_layer_norm": True},
            normalize=False,
            alignment="stream",
            left_context_s=0.4,
        ),
        sampler=SamplerConfig(num_steps=2, shift=3.0),
        window=WindowConfig(window=4, overlap=2, ramp="open", fuse_first_step=True, settle=0),
        height=64,
        width=64,
    )


@pytest.fixture(scope="session")
def released_config() -> ModelConfig:
    """In the manner of the released model: text, CLIP, the Wan auto-encoder, sound encoded window by window."""
    return ModelConfig(
        name="small-released",
        dit=DiTConfig(**_DIT, text_dim=24, text_len=16, clip_dim=16),
        vae=VAEConfig(kind="wan", base_dim=8),
        clip=ClipConfig(dim=16, mlp_dim=32, num_heads=2, num_layers=2),
        prompts=PromptsConfig("talk", "blur"),
        audio=AudioConfig(wav2vec2=_WAV2VEC2),
        sampler=SamplerConfig(num_steps=2),
        window=WindowConfig(window=3, overlap=1, settle=0),
        height=64,
        width=64,
    )


@pytest.fixture(scope="session")
def small_pipeline(small_config: ModelConfig) -> Pipeline:
    return awake(small_config)


@pytest.fixture(scope="session")
def released_pipeline(released_config: ModelConfig) -> Pipeline:
    return awake(released_config)


@pytest.fixture(scope="session")
def picture() -> Picture:
    return np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def sound() -> Samples:
    """A second and a half without any structure to hide a mistake, 16 kHz."""
    return (0.1 * np.random.default_rng(7).standard_normal(24_000)).astype(np.float32)


def awake(config: ModelConfig) -> Pipeline:
    """An untrained model in which every input makes a difference, float32."""
    pipeline = Pipeline.with_random_weights(config, dtype=torch.float32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        if config.dit.motion_dim:
            torch.nn.init.normal_(pipeline.networks.dit.motion_embedding[-1].weight)
    return pipeline


@pytest.fixture(scope="session")
def small_bundle(small_pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model on disk."""
    folder = tmp_path_factory.mktemp("models") / "small"
    networks = small_pipeline.networks
    parts = {"dit": networks.dit, "vae": networks.vae, "speech_encoder": networks.speech_encoder}
    write_bundle(folder, small_pipeline.config, {name: module.state_dict() for name, module in parts.items()})
    return folder
