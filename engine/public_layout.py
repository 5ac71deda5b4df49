"""Where the released files lie: a folder as downloaded, or a snapshot in Hugging Face's cache.

It knows file names and the JSON configurations beside the weights; it opens no weights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

from avacast.engine.bundle import listed
from avacast.engine.config import AudioConfig, DiTConfig
from avacast.engine.errors import BadBundle
from avacast.engine.released_model import Part

Variant: TypeAlias = Literal["square", "rec-vec"]
"""The released transformers: for 512x512, and for 480x832 and 832x480."""

VARIANTS: tuple[Variant, ...] = ("square", "rec-vec")

REPOSITORY = "models--FrancisRing--StableAvatar"
AVATAR, WAN, SPEECH = "StableAvatar-1.3B", "Wan2.1-Fun-V1.1-1.3B-InP", "wav2vec2-base-960h"
FILES: Mapping[Part, tuple[str, ...]] = {
    "vae": (f"{WAN}/Wan2.1_VAE.pth",),
    "clip_visual": (f"{WAN}/models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth",),
    "text_encoder": (f"{WAN}/models_t5_umt5-xxl-enc-bf16.pth",),
    "speech_encoder": (f"{SPEECH}/model.safetensors", f"{SPEECH}/pytorch_model.bin"),
}
"""The names that each part may have."""

TINY_VAE_FILES = ("taew2_1.pth", f"{AVATAR}/taew2_1.pth", f"{WAN}/taew2_1.pth")
TOKENIZER = f"{WAN}/google/umt5-xxl/tokenizer.json"

_SPEECH_KEYS = (
    *("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "conv_dim", "conv_kernel"),
    *("conv_stride", "conv_bias", "feat_extract_norm", "do_stable_layer_norm", "num_conv_pos_embeddings"),
    *("num_conv_pos_embedding_groups", "hidden_act", "feat_extract_activation", "layer_norm_eps"),
)


@dataclass(frozen=True)
class PublicLayout:
    """The files of one release, all found."""

    root: Path
    variant: Variant
    files: Mapping[Part, Path]
    """`tiny_vae` only where it was downloaded too."""
    tokenizer: Path

    @classmethod
    def find(cls, source: Path, variant: Variant | None = None) -> PublicLayout:
        """Looks through `source`; `variant` None takes the square transformer, or the other where only that is there.

        Raises BadBundle that lists what is missing.
        """
        root = _root(source)
        transformers: dict[Variant, Path] = {name: root / AVATAR / f"transformer3d-{name}.pt" for name in VARIANTS}
        there: list[Variant] = [name for name, path in transformers.items() if path.is_file()]
        chosen = variant or (there[0] if there else "square")
        choices: dict[Part, tuple[Path, ...]] = {"transformer": (transformers[chosen],)}
        choices |= {part: tuple(root / name for name in names) for part, names in FILES.items()}
        files: dict[Part, Path] = {part: path for part, paths in choices.items() if (path := _first_file(paths))}
        missing = [str(paths[0].relative_to(root)) for part, paths in choices.items() if part not in files]
        if not (root / TOKENIZER).is_file():
            missing.append(TOKENIZER)
        if missing:
            raise BadBundle(f"{root} lacks {listed(missing)}; download FrancisRing/StableAvatar whole")
        if tiny_vae := _first_file(tuple(root / name for name in TINY_VAE_FILES)):
            files["tiny_vae"] = tiny_vae
        return cls(root, chosen, files, root / TOKENIZER)

    def check_configurations(self, dit: DiTConfig, audio: AudioConfig) -> None:
        """Raises BadBundle where a `config.json` of the release describes other networks than these."""
        from transformers import Wav2Vec2Config

        names = ("dim", "ffn_dim", "freq_dim", "num_heads", "num_layers", "text_len", "in_dim", "text_dim", "eps")
        expected = {name: getattr(dit, name) for name in names}
        expected |= {"out_dim": dit.latent_channels, "patch_size": list(dit.patch_size)}
        _check_values(self.root / WAN / "config.json", expected)
        speech = json.loads(json.dumps(Wav2Vec2Config(**audio.wav2vec2).to_dict(), default=str))
        _check_values(self.root / SPEECH / "config.json", {key: speech[key] for key in _SPEECH_KEYS})


def _first_file(paths: tuple[Path, ...]) -> Path | None:
    return next((path for path in paths if path.is_file()), None)


def _root(source: Path) -> Path:
    """The folder that holds the release's folders: `source`, or the newest snapshot of the cache that it names."""
    if not source.is_dir():
        raise BadBundle(f"there is no folder {source}; name the one that FrancisRing/StableAvatar was downloaded to")
    repository = source / REPOSITORY if (source / REPOSITORY).is_dir() else source
    snapshots = repository / "snapshots"
    if not snapshots.is_dir():
        return source
    reference = repository / "refs" / "main"
    if reference.is_file() and (snapshots / reference.read_text(encoding="utf-8").strip()).is_dir():
        return snapshots / reference.read_text(encoding="utf-8").strip()
    found = sorted((path for path in snapshots.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
    if not found:
        raise BadBundle(f"{snapshots} holds no snapshot; download FrancisRing/StableAvatar again")
    return found[-1]


def _check_values(file: Path, expected: Mapping[str, object]) -> None:
    """Compares what `file` says with what is expected; what either does not mention is not compared."""
    if not file.is_file():
        return
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadBundle(f"{file} is no JSON; download it again") from error
    if not isinstance(values, dict):
        raise BadBundle(f"{file} holds no JSON object; download it again")
    stated = cast("dict[str, Any]", values)
    wrong = [
        f"{key} is {stated[key]}, not {value}" for key, value in expected.items() if stated.get(key, value) != value
    ]
    if wrong:
        raise BadBundle(f"{file} describes another model: {listed(wrong)}; import StableAvatar 1.3B")
