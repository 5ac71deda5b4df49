"""training/wave_file.py: sound as speech synthesisers write it."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile

from avacast.training.wave_file import read_wave


def test_samples_and_rate_are_what_was_written(tmp_path: Path) -> None:
    """To a 16-bit step."""
    sound = np.sin(np.arange(1000) / 10).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", 0.9 * sound, 22_050, subtype="PCM_16")
    samples, rate_hz = read_wave(str(tmp_path / "a.wav"))
    assert rate_hz == 22_050
    assert samples.dtype == np.float32
    assert np.abs(samples - 0.9 * sound).max() < 1e-4


def test_another_kind_of_file_is_an_error(tmp_path: Path) -> None:
    """A synthesiser that failed leaves an empty file, or none of ours."""
    soundfile.write(tmp_path / "two.wav", np.zeros((10, 2)), 16_000, subtype="PCM_16")
    with pytest.raises(wave.Error, match="2 channels"):
        read_wave(str(tmp_path / "two.wav"))
    (tmp_path / "empty.wav").touch()
    with pytest.raises(EOFError):
        read_wave(str(tmp_path / "empty.wav"))
