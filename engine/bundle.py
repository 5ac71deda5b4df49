"""A model on disk: one folder of `manifest.json`, `config.json` and one safetensors file for each network.

Weights are safetensors only, so reading a bundle never runs code from it. This module knows files; of the networks it
knows no more than their names and the shapes of their tensors.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from avacast.engine.bundle_writer import writing_bundle
from avacast.engine.config import ModelConfig
from avacast.engine.errors import BadBundle, BadSetting
from avacast.engine.manifest import CONFIG, MANIFEST, MEND, Manifest, parse_object


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: its configuration, and its weights when asked for."""

    config: ModelConfig
    manifest: Manifest

    def source(self, name: str) -> str:
        """The file of the network `name`, for a message."""
        return f"{self.manifest.folder / name}.safetensors"

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Weights of the network `name` (`dit`, `vae`, `speech_encoder`, ...), as stored, mapped from the file.

        Raises BadBundle when the file is missing, damaged, no safetensors file, or holds NaN or infinity.
        """
        file = f"{name}.safetensors"
        self.manifest.verify(file)
        path = self.manifest.folder / file
        try:
            tensors = safetensors.torch.load_file(path)
        except (safetensors.SafetensorError, OSError, KeyError, ValueError) as error:
            raise BadBundle(f"{path} is no safetensors file ({one_line(error)}); {MEND}") from error
        if bad := [key for key, tensor in tensors.items() if not is_finite(tensor)]:
            raise BadBundle(f"{path} holds NaN or infinite weights in {listed(bad)}; {MEND}")
        return tensors


def embedded_bundle() -> Path:
    """The folder of the pocket model that ships inside the package."""
    return Path(str(importlib.resources.files("avacast.engine") / "pocket"))


def load_bundle(path: Path | str) -> Bundle:
    """Opens the bundle in the folder `path`; weights are read later, by `Bundle.tensors`.

    Raises BadBundle when anything is missing, damaged or of another format.
    """
    folder = Path(path)
    manifest = Manifest.read(folder)
    for file in manifest.entries:
        manifest.check_length(file)
    values = parse_object(folder / CONFIG, manifest.read_verified(CONFIG))
    try:
        config = ModelConfig.from_dict(values)
    except (BadSetting, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        raise BadBundle(f"{folder / CONFIG} describes no model ({one_line(error)}); {MEND}") from error
    if config.name != manifest.name:
        raise BadBundle(f"{folder / MANIFEST} names {manifest.name!r}, {CONFIG} names {config.name!r}; {MEND}")
    return Bundle(config, manifest)


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor], *, source: str = "the weights") -> None:
    """Copies `tensors` into `module`, whose names and shapes must be met exactly.

    Raises BadBundle that lists the first five misfits; `source` is what its message calls the tensors.
    """
    _check_fit(module, tensors, source)
    module.load_state_dict(dict(tensors))


def adopt_weights(
    module: nn.Module, tensors: Mapping[str, Tensor], dtype: torch.dtype, *, source: str = "the weights"
) -> None:
    """`load_weights` for a large module built on the meta device: it gets its own copies in `dtype`, on the CPU.

    Nothing is initialised for nothing, and no second copy of the whole exists. Raises BadBundle as `load_weights` does.
    """
    _check_fit(module, tensors, source)
    copies = {name: tensor.to(dtype, copy=True) for name, tensor in tensors.items()}
    module.load_state_dict(copies, assign=True)


def _check_fit(module: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    misfits = tensor_misfits({name: tensor.shape for name, tensor in module.state_dict().items()}, tensors)
    if misfits:
        raise BadBundle(f"{source} do not fit {type(module).__name__}: {listed(misfits)}; {MEND}")


def tensor_misfits(wanted: Mapping[str, Sequence[int]], tensors: Mapping[str, Tensor]) -> list[str]:
    """What separates `tensors` from the names and shapes `wanted`: missing, unexpected, of another shape."""
    misfits = [f"{name} is missing" for name in wanted if name not in tensors]
    misfits += [f"{name} is unexpected" for name in tensors if name not in wanted]
    for name, shape in wanted.items():
        if name in tensors and list(tensors[name].shape) != list(shape):
            misfits.append(f"{name} is {list(tensors[name].shape)}, not {list(shape)}")
    return misfits


def write_bundle(path: Path | str, config: ModelConfig, networks: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Writes a model to the folder `path`: beside it first, flushed to disk, then renamed into place.

    `networks` holds a state dictionary for each network's name. An older bundle at `path` is replaced. Raises
    BadSetting when something else lies there, Unavailable when the disk refuses.
    """
    with writing_bundle(Path(path), config) as writer:
        for name, tensors in networks.items():
            writer.add(name, tensors)


def is_finite(tensor: Tensor) -> bool:
    """Whether it holds neither NaN nor infinity."""
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def listed(items: Sequence[str], max_items: int = 5) -> str:
    """The first of them, and how many more there are."""
    more = f" and {len(items) - max_items} more" if len(items) > max_items else ""
    return ", ".join(items[:max_items]) + more


def one_line(error: BaseException) -> str:
    """What an error says, without line breaks."""
    return " ".join(str(error).split()) or type(error).__name__
