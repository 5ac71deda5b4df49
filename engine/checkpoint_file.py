"""Weights in the files of others: opened without running code from them, and without reading them into memory.

It knows PyTorch's and the safetensors format; it knows nothing of whose tensors they are.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, cast

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from avacast.engine.bundle import one_line
from avacast.engine.errors import BadBundle

_NESTED = "state_dict"


def open_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors`, `.pt`, `.pth` or `.bin` file by name, mapped from it on the CPU.

    A PyTorch file is a pickle: it is read with `weights_only`, and refused when it holds anything but weights. Pages
    that were read count as this process's memory until all tensors of this call are gone. Raises BadBundle.
    """
    if not path.is_file():
        raise BadBundle(f"there is no file {path}; download the model again")
    if path.suffix == ".safetensors":
        return _open_safetensors(path)
    content = _open_pickle(path)
    if isinstance(content, dict) and isinstance(content.get(_NESTED), dict):
        content = content[_NESTED]
    if not isinstance(content, dict) or not content:
        raise BadBundle(f"{path} holds no named weights; download it again")
    named = cast("dict[Any, Any]", content)
    if foreign := [name for name, value in named.items() if not isinstance(name, str) or not isinstance(value, Tensor)]:
        raise BadBundle(f"{path} holds {foreign[0]!r}, which is no tensor; download it again")
    return dict(named)


def _open_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError, KeyError, ValueError) as error:
        raise BadBundle(f"{path} is cut short or damaged ({one_line(error)}); download it again") from error


def _open_pickle(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError as error:
        raise BadBundle(
            f"{path} holds more than weights, which could run code when it is opened, so it is refused; "
            "get the file from its publisher"
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise BadBundle(
            f"{path} is cut short, damaged or no PyTorch file ({_reason(error)}); download it again"
        ) from error


def _reason(error: BaseException) -> str:
    """The first sentence of what PyTorch says; the rest is for programmers."""
    return one_line(error).split(". ")[0][:200]
