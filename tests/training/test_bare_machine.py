"""A machine for training has PyTorch, numpy, OpenCV and transformers, and nothing else of ours."""

from __future__ import annotations

import subprocess
import sys

MISSING = (
    "PIL aiortc av diffusers espeakng_loader fastapi onnx onnxruntime pydantic soundfile soxr tensorrt uvicorn "
    "websockets"
)
SCRIPT = f"""
import sys
for name in {MISSING!r}.split():
    sys.modules[name] = None
from avacast.training import finetuning, pocket
"""


def test_the_recipes_need_nothing_else() -> None:
    """What draws, hears, speaks or reads videos is imported where it is used."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
