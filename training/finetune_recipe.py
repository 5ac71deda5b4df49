"""The settings of a fine-tuning run.

Knows numbers only; what they do is `finetune`'s and `clip_batches`'.
"""

from __future__ import annotations

from dataclasses import dataclass

from avacast.engine.config import ModelConfig
from avacast.engine.errors import BadSetting
from avacast.training.recipe import Recipe

_FEW_STEPS_PURE_NOISE = 0.3
"""As in stage 4 of the pocket model, whose first step counts for a half or more."""


@dataclass(frozen=True)
class FinetuneRecipe(Recipe):
    """Sizes of a fine-tuning run. Shares of the masked loss and of dropped audio are the paper's (arXiv 2508.08248)."""

    num_steps: int = 2000
    batch_size: int = 1
    lr: float = 1e-4
    weight_decay: float = 0.01
    ema: float = 0.99
    lora_rank: int = 16
    """Rank of the adapters; 0 trains all weights of the transformer."""
    lora_alpha: float = 16.0
    lora_targets: tuple[str, ...] = ("self_attn", "cross_attn", "ffn")
    """Parts of the transformer whose linear layers are adapted, by any part of their names."""
    face_only: float = 0.1
    """Share of samples whose error counts in the face alone."""
    lips_only: float = 0.5
    """Share of samples whose error counts at the lips alone; that of the others is weighted by 1 + face + lips."""
    audio_dropout: float = 0.1
    """Share of samples that hear nothing, as the branch without audio of the guidance."""
    pure_noise: float | None = None
    """Share of samples at noise level 1. By itself: 0.3 for a model of few even steps, like pocket, else 0."""
    hop: int = 0
    """Latent frames from one clip of a video to the next; 0 is half a window."""
    checkpoint_every: int = 100
    """Steps between checkpoints, each with a preview."""
    preview_steps: int = 10
    """Denoising steps of a preview, at most those of the model."""
    recompute: bool = True
    """Compute each block again in the backward pass instead of keeping what is inside it (Chen et al., 1604.06174)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        shares = self.face_only, self.lips_only, self.audio_dropout, self.pure_noise or 0.0
        checks = {
            "num_steps, batch_size, checkpoint_every and preview_steps must be 1 or above": min(
                self.num_steps, self.batch_size, self.checkpoint_every, self.preview_steps
            )
            >= 1,
            "lr and lora_alpha must be above 0": 0 < self.lr < 1 and self.lora_alpha > 0,
            "weight_decay, lora_rank and hop must be 0 or above": min(self.weight_decay, self.lora_rank, self.hop) >= 0,
            "ema must be 0 or above and below 1": 0 <= self.ema < 1,
            "shares must lie between 0 and 1": all(0 <= share <= 1 for share in shares),
            "face_only and lips_only must not exceed 1 together": self.face_only + self.lips_only <= 1,
            "lora_targets must name a part": bool(self.lora_targets) or not self.lora_rank,
        }
        for sentence, holds in checks.items():
            if not holds:
                raise BadSetting(f"the recipe does not work: {sentence}")

    def pure_noise_for(self, config: ModelConfig) -> float:
        """`pure_noise`, or what suits the model."""
        if self.pure_noise is not None:
            return self.pure_noise
        return _FEW_STEPS_PURE_NOISE if config.sampler.spacing == "even" else 0.0

    def hop_for(self, config: ModelConfig) -> int:
        """`hop`, or half a window. Raises BadSetting for one that would skip pictures."""
        window = config.window.window
        if self.hop > window:
            raise BadSetting(f"hop {self.hop} is longer than the model's window, {window} latent frames; shorten it")
        return self.hop or max(1, window // 2)
