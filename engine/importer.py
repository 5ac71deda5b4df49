"""The released files become a bundle: everything is checked first, then written one network at a time.

It knows the order of things and the space they need; names and shapes are `released_model`'s, places are
`public_layout`'s. The source is only read.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from torch import Tensor

from avacast.engine.bundle import is_finite, listed
from avacast.engine.bundle_writer import check_place, writing_bundle
from avacast.engine.checkpoint_file import open_checkpoint
from avacast.engine.config import ModelConfig
from avacast.engine.errors import BadBundle, BadSetting, Unavailable
from avacast.engine.prompt_encoder import encode_prompts, tokenize
from avacast.engine.public_layout import PublicLayout, Variant
from avacast.engine.released_model import TINY_VAE, Part, ReleasedModel, run_names
from avacast.engine.tensor_file import OnTensor, num_tensor_bytes

Report: TypeAlias = Callable[[str, int, int], None]
"""(what is being done, how much of it is done, how much there is)."""


def _say_nothing(_what: str, _done: int, _total: int) -> None:
    """The report of a caller that wants none."""


NETWORKS: Mapping[Part, str] = {
    "transformer": "dit",
    "vae": "vae",
    "speech_encoder": "speech_encoder",
    "clip_visual": "clip",
    "tiny_vae": "live_vae",
}
"""Parts of the release to networks of a bundle; of the text encoder only what it says of the prompts is kept."""

SIZES: Mapping[Variant, tuple[int, int]] = {"square": (512, 512), "rec-vec": (480, 832)}
"""Height and width that each transformer was released for first."""

_SPARE_BYTES = 64 << 20


def import_released(
    source: Path,
    bundle: Path,
    released: ReleasedModel,
    *,
    variant: Variant | None = None,
    report: Report = _say_nothing,
) -> ModelConfig:
    """Reads the release in `source` and writes the folder `bundle`; returns the configuration written.

    Raises BadBundle for whatever is wrong with the source, BadSetting for a place that cannot be written to,
    Unavailable without enough disk. Nothing is left behind then.
    """
    check_place(bundle.absolute())
    layout = PublicLayout.find(source, variant)
    if bundle.resolve().is_relative_to(source.resolve()):
        raise BadSetting(f"{bundle} lies inside the source {source}; choose a folder elsewhere")
    config = _configuration(released.config, layout)
    layout.check_configurations(config.dit, config.audio)
    num_bytes = sum(_check(layout, part, released) for part in ("text_encoder", *_written(layout)))
    _check_disk(bundle, num_bytes)
    prompts = _encoded_prompts(layout, released, report)
    with writing_bundle(bundle, config) as writer:
        writer.add("prompts", prompts)
        for part in _written(layout):
            weights = released.to_bundle(part, run_names(part, open_checkpoint(layout.files[part])))
            writer.add(NETWORKS[part], weights, _progress(f"writing {part}", layout.files[part], weights, report))
    return config


def encode_with(
    source: Path, released: ReleasedModel, prompts: Mapping[str, str], report: Report = _say_nothing
) -> dict[str, Tensor]:
    """States `[N, text_dim]` of each prompt, by the text encoder of the release in `source`. Raises BadBundle."""
    layout = PublicLayout.find(source)
    _check(layout, "text_encoder", released)
    return _encode(layout, released, prompts, report)


def _configuration(config: ModelConfig, layout: PublicLayout) -> ModelConfig:
    if "tiny_vae" in layout.files:
        config = replace(config, live_vae=config.live_vae or TINY_VAE)
    if layout.variant == "square":
        return config
    height, width = SIZES[layout.variant]
    return replace(config, height=height, width=width)


def _written(layout: PublicLayout) -> tuple[Part, ...]:
    return tuple(part for part in NETWORKS if part in layout.files)


def _check(layout: PublicLayout, part: Part, released: ReleasedModel) -> int:
    """Bytes that a part will take in the bundle. Raises BadBundle that lists the tensors that do not fit."""
    weights = run_names(part, open_checkpoint(layout.files[part]))
    if misfits := released.misfits(part, weights):
        raise BadBundle(
            f"{layout.files[part]} is not the released {part}: {listed(misfits, 20)}; import StableAvatar 1.3B"
        )
    return 0 if part == "text_encoder" else num_tensor_bytes(weights)


def _check_disk(bundle: Path, num_bytes: int) -> None:
    place = bundle.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < num_bytes + _SPARE_BYTES:
        raise Unavailable(
            f"{place} has {free / 1e9:.1f} GB free, the bundle takes {(num_bytes + _SPARE_BYTES) / 1e9:.1f} GB; "
            "make room or choose another disk"
        )


def _encoded_prompts(layout: PublicLayout, released: ReleasedModel, report: Report) -> dict[str, Tensor]:
    prompts = released.config.prompts
    assert prompts is not None, "a released model reads"
    return _encode(layout, released, {"positive": prompts.positive, "negative": prompts.negative}, report)


def _encode(
    layout: PublicLayout, released: ReleasedModel, prompts: Mapping[str, str], report: Report
) -> dict[str, Tensor]:
    token_ids = tokenize(layout.tokenizer, list(prompts.values()), released.config.dit.text_len)
    num_done = 0

    def block_done() -> None:
        nonlocal num_done
        num_done += 1
        report("encoding the prompts", num_done, released.text_encoder.num_layers)

    checkpoint = layout.files["text_encoder"]
    states = encode_prompts(released.text_encoder, lambda: open_checkpoint(checkpoint), token_ids, block_done)
    return dict(zip(prompts, states, strict=True))


def _progress(what: str, file: Path, weights: Mapping[str, Tensor], report: Report) -> OnTensor:
    """What is called after each tensor: refuses what is not finite, and reports bytes."""
    total, done = num_tensor_bytes(weights), 0

    def written(name: str, tensor: Tensor) -> None:
        nonlocal done
        if not is_finite(tensor):
            raise BadBundle(f"{file} holds NaN or infinite weights in {name}; download it again")
        done += tensor.numel() * tensor.itemsize
        report(what, done, total)

    return written
