"""The models that avacast knows by name: two values of one `ModelConfig`.

Knows the released sizes and those of the embedded model, each setting with its reason where `config` describes it.
"""

from __future__ import annotations

from avacast.engine.config import AudioConfig, ClipConfig, DiTConfig, ModelConfig, PromptsConfig, VAEConfig
from avacast.engine.profile import Profile, Profiles, SamplerConfig, WindowConfig

STABLEAVATAR_1_3B = ModelConfig(
    name="stableavatar-1.3b",
    vae=VAEConfig(kind="wan"),
    profiles=Profiles(
        mic=Profile(
            WindowConfig(window=5, overlap=4, ramp="open", fuse_first_step=True, settle=0),
            sampler=SamplerConfig(num_steps=4, spacing="even"),
        ),
        tts=Profile(
            WindowConfig(window=9, overlap=3, ramp="open", fuse_first_step=True, settle=0),
            lookahead=3,
            patience="take",
            sampler=SamplerConfig(num_steps=4, spacing="even"),
        ),
    ),
    clip=ClipConfig(),
    prompts=PromptsConfig(),
)
"""The released model: Wan2.1-Fun 1.3B with StableAvatar's adapter (arXiv 2508.08248)."""

POCKET = ModelConfig(
    name="pocket",
    dit=DiTConfig(
        dim=256,
        ffn_dim=1024,
        num_heads=8,
        num_layers=7,
        freq_dim=128,
        patch_size=(1, 4, 4),
        text_dim=0,
        text_len=0,
        clip_dim=0,
        audio_in_dim=128,
        audio_num_heads=4,
        audio_num_layers=1,
        audio_positions=16,
        motion_dim=32,
        reference_on="all",
        prediction="residual",
    ),
    vae=VAEConfig(decoder_widths=(96, 48, 24, 16), encoder_width=32),
    audio=AudioConfig(
        wav2vec2={
            "hidden_size": 128,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "intermediate_size": 512,
            "conv_dim": [64, 64, 64, 64, 96, 96, 128],
            "feat_extract_norm": "layer",
            "do_stable_layer_norm": True,
            "num_conv_pos_embeddings": 15,
            "num_conv_pos_embedding_groups": 8,
            "hidden_dropout": 0.0,
            "attention_dropout": 0.0,
            "activation_dropout": 0.0,
            "feat_proj_dropout": 0.0,
            "layerdrop": 0.0,
            "apply_spec_augment": False,
        },
        normalize=False,
        alignment="stream",
        left_context_s=2.0,
        right_context_tokens=3,
    ),
    sampler=SamplerConfig(num_steps=2, shift=3.0, spacing="even"),
    window=WindowConfig(window=6, overlap=4, ramp="open", fuse_first_step=True, settle=0),
    profiles=Profiles(mic=Profile(WindowConfig(window=3, overlap=2, ramp="open", fuse_first_step=True, settle=0))),
    familiar_psnr_db=29.0,
    reference_detail=True,
    height=256,
    width=256,
)
"""The embedded default: the same classes, small enough for two CPU cores, drawn faces only."""
