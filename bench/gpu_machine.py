"""The machine that a GPU report is of. Knows the device and what it is driven by; measures nothing."""

from __future__ import annotations

import platform
from typing import Any

import torch
import transformers

from avacast.bench.workbench import Workbench


def machine(bench: Workbench) -> dict[str, Any]:
    """The device and the versions of what it is driven by."""
    found: dict[str, Any] = {
        "device": platform.processor() or "cpu",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "dtype": str(bench.dtype).removeprefix("torch."),
    }
    if bench.on_gpu:
        properties = torch.cuda.get_device_properties(bench.device)
        found |= {
            "device": properties.name,
            "memory_gb": properties.total_memory / 1e9,
            "num_multiprocessors": properties.multi_processor_count,
            "compute_capability": f"{properties.major}.{properties.minor}",
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    return found
