"""WAV files as speech synthesisers write them, read with Python's own `wave`: a training machine has little else."""

from __future__ import annotations

import wave

import numpy as np
from numpy.typing import NDArray


def read_wave(path: str) -> tuple[NDArray[np.float32], int]:
    """Samples [N] in [-1, 1] and their rate in Hz, of 16-bit mono. Raises wave.Error or EOFError for any other file."""
    with wave.open(path, "rb") as file:
        if file.getnchannels() != 1 or file.getsampwidth() != 2:
            raise wave.Error(f"{file.getnchannels()} channels of {file.getsampwidth()} bytes")
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return samples.astype(np.float32) / np.float32(32768), file.getframerate()
