"""What a model that reads text is told: the encoded prompts of a bundle, made fit for the transformer.

It knows states and their padding; how a prompt becomes states is `prompt_encoder`'s business, which serving never
needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from avacast.engine.config import DiTConfig
from avacast.engine.errors import BadBundle
from avacast.engine.manifest import MEND

PROMPTS = ("positive", "negative")


@dataclass(frozen=True)
class TextStates:
    """Both prompts, `[1, text_len, text_dim]`, zero behind their last token."""

    positive: Tensor
    negative: Tensor

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, Tensor], config: DiTConfig, *, source: str = "the prompts"
    ) -> TextStates:
        """From states without padding, `positive` and `negative`, each `[N, text_dim]`, N up to `text_len`.

        Raises BadBundle for anything else; `source` is what its message calls the tensors.
        """
        if sorted(tensors) != sorted(PROMPTS) or not all(_fits(tensors[name], config) for name in PROMPTS):
            shape = f"[up to {config.text_len}, {config.text_dim}]"
            raise BadBundle(f"{source} must be {' and '.join(PROMPTS)}, each {shape}; {MEND}")
        return cls(*(_padded(tensors[name], config.text_len) for name in PROMPTS))

    @classmethod
    def random(cls, config: DiTConfig) -> TextStates:
        """Noise in place of prompts, for an untrained model."""
        shape = (1, config.text_len, config.text_dim)
        return cls(torch.randn(shape), torch.randn(shape))

    def to(self, device: torch.device | str, dtype: torch.dtype) -> TextStates:
        return TextStates(self.positive.to(device, dtype), self.negative.to(device, dtype))


def _fits(states: Tensor, config: DiTConfig) -> bool:
    return states.ndim == 2 and 0 < states.shape[0] <= config.text_len and states.shape[1] == config.text_dim


def _padded(states: Tensor, text_len: int) -> Tensor:
    return F.pad(states, (0, 0, 0, text_len - states.shape[0]))[None]
