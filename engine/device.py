"""On which device a model runs, as people name it. Knows names and what is here; knows no model."""

from __future__ import annotations

import torch

from avacast.engine.errors import BadSetting, Unavailable


def chosen_device(device: str) -> str:
    """`device`, or for `auto` the GPU where there is one. Raises BadSetting, Unavailable."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind, number = torch.device(device).type, torch.device(device).index or 0
    except RuntimeError as error:
        raise BadSetting(f"{device!r} is no device; say auto, cpu, cuda or cuda:1") from error
    if kind not in ("cpu", "cuda"):
        raise BadSetting(f"{device!r} is no device that avacast runs on; say auto, cpu, cuda or cuda:1")
    if kind == "cuda" and not torch.cuda.is_available():
        raise Unavailable("there is no GPU that PyTorch can use; say --device cpu")
    if kind == "cuda" and number >= torch.cuda.device_count():
        raise Unavailable(f"there is no GPU {number}; `nvidia-smi` lists those that are here")
    return device
