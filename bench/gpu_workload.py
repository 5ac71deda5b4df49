"""What `avacast bench gpu` measures: the released model's sizes with a live sampler, or the same made tiny.

Knows configurations and shapes; knows no clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from avacast.engine.config import AudioConfig, ClipConfig, DiTConfig, ModelConfig, PromptsConfig, VAEConfig
from avacast.engine.presets import STABLEAVATAR_1_3B
from avacast.engine.profile import SamplerConfig, WindowConfig
from avacast.engine.rewind import MAX_POINTS


@dataclass(frozen=True)
class Workload:
    """Shapes to be measured, the most telling first: what comes last is left out when time runs short."""

    config: ModelConfig
    """Its window, sampler and size are those of the whole pipeline."""
    sizes: tuple[tuple[int, int], ...]
    """Height and width in pixels."""
    windows: tuple[int, ...]
    """Latent frames."""
    latents_per_pass: tuple[int, ...]
    """Of the decoders."""
    batches: tuple[int, ...]
    tiny_vae: VAEConfig
    released_window: WindowConfig
    released_steps: int
    """The released implementation's defaults."""
    matrix_side: int
    copy_bytes: int
    num_windows: int
    """Of a stream that is measured whole."""
    num_session_windows: int
    """Of an engine's session after its first."""

    @property
    def forward_cells(self) -> list[tuple[int, int, int, int]]:
        """(height, width, latent frames, batch) of every pass of the transformer to be measured."""
        return [
            (height, width, frames, batch)
            for batch in self.batches
            for height, width in self.sizes
            for frames in self.windows
        ]


FULL = Workload(
    config=replace(
        STABLEAVATAR_1_3B,
        sampler=SamplerConfig(num_steps=4, shift=5.0, spacing="even"),
        window=WindowConfig(window=9, overlap=3, ramp="open", fuse_first_step=True, settle=0),
    ),
    sizes=((512, 512), (480, 832)),
    windows=(9, 21, 13, 5),
    latents_per_pass=(1, 2, 3),
    batches=(1, 2, 4),
    tiny_vae=VAEConfig(),
    released_window=WindowConfig(),
    released_steps=50,
    matrix_side=8192,
    copy_bytes=4_000_000_000,
    num_windows=6,
    num_session_windows=MAX_POINTS,
)
"""The true size. 50 steps and windows of 21 are the released command's; a session makes as many windows as it keeps
points to go back to."""

TINY = Workload(
    config=ModelConfig(
        name="tiny-released",
        dit=DiTConfig(
            dim=32,
            ffn_dim=64,
            num_heads=2,
            num_layers=1,
            freq_dim=32,
            text_dim=24,
            text_len=16,
            clip_dim=16,
            audio_in_dim=32,
            audio_num_heads=2,
        ),
        vae=VAEConfig(kind="wan", base_dim=8),
        clip=ClipConfig(dim=16, mlp_dim=32, num_heads=2, num_layers=3),
        prompts=PromptsConfig(),
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
        sampler=SamplerConfig(num_steps=2, spacing="even"),
        window=WindowConfig(window=5, overlap=3, ramp="open", fuse_first_step=True, settle=0),
        height=32,
        width=32,
    ),
    sizes=((32, 32),),
    windows=(5, 3),
    latents_per_pass=(1,),
    batches=(1, 2),
    tiny_vae=VAEConfig(decoder_widths=(16, 8, 8, 8), encoder_width=8),
    released_window=WindowConfig(window=7, overlap=2),
    released_steps=5,
    matrix_side=256,
    copy_bytes=4_000_000,
    num_windows=1,
    num_session_windows=2,
)
"""The same parts and code paths in seconds on a CPU; its figures mean nothing."""
