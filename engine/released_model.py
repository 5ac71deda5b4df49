"""The released StableAvatar 1.3B as its publishers store it: every tensor's name and shape, network by network.

It knows names, shapes and how public names become ours; it knows no files and opens none.
"""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from avacast.engine import clip, wan_vae
from avacast.engine.bundle import tensor_misfits
from avacast.engine.config import ModelConfig, VAEConfig
from avacast.engine.presets import STABLEAVATAR_1_3B
from avacast.engine.speech_encoder import SpeechEncoder
from avacast.engine.tiny_vae import TinyVAE
from avacast.engine.umt5 import Umt5Config

Part: TypeAlias = Literal["transformer", "vae", "clip_visual", "text_encoder", "speech_encoder", "tiny_vae"]
"""One file of the release."""

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]

TINY_VAE = VAEConfig()
"""The sizes of `taew2_1`."""

NOT_RUN: Mapping[Part, tuple[str, ...]] = {
    "clip_visual": ("textual.", "log_scale"),
    "speech_encoder": ("lm_head.",),
}
"""What the files hold besides: CLIP's text tower and wav2vec2's letters, which no avatar needs."""

_SPEECH_NAMES = {
    "pos_conv_embed.conv.weight_g": "pos_conv_embed.conv.parametrizations.weight.original0",
    "pos_conv_embed.conv.weight_v": "pos_conv_embed.conv.parametrizations.weight.original1",
}
"""What older versions of transformers called the parts of the weight norm."""


@dataclass(frozen=True)
class ReleasedModel:
    """What an import expects to find, and the model that it makes of it."""

    config: ModelConfig
    text_encoder: Umt5Config
    shapes: Mapping[Part, Shapes]

    @classmethod
    def stableavatar(cls) -> ReleasedModel:
        """The real one: the published list of tensors, and the speech encoder and tiny auto-encoder by their sizes."""
        file = importlib.resources.files("avacast.engine") / "released_manifest.json"
        tensors: dict[Part, dict[str, list[int]]] = json.loads(file.read_text(encoding="utf-8"))["tensors"]
        listed: dict[Part, Shapes] = {
            part: {name: tuple(shape) for name, shape in shapes.items()} for part, shapes in tensors.items()
        }
        return cls.of(STABLEAVATAR_1_3B, Umt5Config(), listed)

    @classmethod
    def of(cls, config: ModelConfig, text_encoder: Umt5Config, listed: Mapping[Part, Shapes]) -> ReleasedModel:
        """Adds to the `listed` shapes those of the networks that are stored under our own names."""
        with torch.device("meta"):
            own = {"speech_encoder": SpeechEncoder(config.audio), "tiny_vae": TinyVAE(config.live_vae or TINY_VAE)}
        shapes = {part: {k: tuple(v.shape) for k, v in module.state_dict().items()} for part, module in own.items()}
        return cls(config, text_encoder, {**listed, **shapes})  # type: ignore[dict-item]  # the keys above are parts

    def misfits(self, part: Part, weights: Mapping[str, Tensor]) -> list[str]:
        """Every tensor of a part, in `run_names`, that is missing, unexpected or wrong-shaped."""
        return tensor_misfits(self.shapes[part], weights)

    def to_bundle(self, part: Part, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights of a part, found without misfits, under the names that a bundle has."""
        if part == "vae":
            return wan_vae.from_public_names(weights)
        if part == "clip_visual":
            assert self.config.clip is not None, "a released model sees"
            return clip.from_public_names(weights, self.config.clip)
        assert part != "text_encoder", "the text encoder is in no bundle"
        return dict(weights)


def run_names(part: Part, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file that are run, and, of the speech encoder, in the names of today's transformers."""
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith(NOT_RUN.get(part, ()))}
    return {_speech_name(name): kept[name] for name in kept} if part == "speech_encoder" else kept


def _speech_name(name: str) -> str:
    for old, new in _SPEECH_NAMES.items():
        name = name.replace(old, new)
    return name if name.startswith("wav2vec2.") else f"wav2vec2.{name}"
