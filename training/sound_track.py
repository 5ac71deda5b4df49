"""The sound of an opened file, as training wants it: mono at 16 kHz. Knows PyAV; knows no pictures and no words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from avacast.engine.config import SAMPLE_RATE_HZ
from avacast.engine.sample_tail import Samples

if TYPE_CHECKING:
    from av.container import InputContainer


def decode_sound(container: InputContainer) -> tuple[Samples, float | None]:
    """The first sound track, float32 [N] in [-1, 1], and its first time stamp in seconds; None where it is empty.

    Raises FFmpegError where it is damaged.
    """
    from av import AudioResampler

    # Channels are averaged below: FFmpeg's own way to mono is louder, and may clip.
    resampler = AudioResampler(format="fltp", rate=SAMPLE_RATE_HZ)
    parts: list[Samples] = [np.zeros(0, np.float32)]
    begins_s: float | None = None
    for frame in container.decode(container.streams.audio[0]):
        begins_s = (frame.time or 0.0) if begins_s is None else begins_s
        frame.pts = None
        parts += [resampled.to_ndarray().mean(axis=0) for resampled in resampler.resample(frame)]
    if begins_s is not None:
        parts += [resampled.to_ndarray().mean(axis=0) for resampled in resampler.resample(None)]
    return np.nan_to_num(np.concatenate(parts)).clip(-1, 1).astype(np.float32), begins_s
