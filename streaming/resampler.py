"""Sound of any common rate, mono or stereo, brought to the engine's 16 kHz mono, in pieces of any size.

Resampling itself is libsoxr's ("HQ": linear phase, flat to 0.91 of the lower Nyquist frequency). This module knows
shapes, types and lengths; it knows no files, no network and no time of arrival.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from avacast.engine.config import SAMPLE_RATE_HZ
from avacast.engine.errors import BadAudio

MIN_RATE_HZ, MAX_RATE_HZ = 4_000, 192_000

MAX_DELAY_MS = 250
"""Longest time that pushed sound stays inside before it comes out. Output comes in lumps: up to 37 ms late at 24 and
48 kHz, 41 ms at 22.05 and 44.1 kHz, 116 ms at 8 kHz, 232 ms at 4 kHz, and not at all at 16 kHz."""

_INT16_FULL_SCALE = np.float32(32_768)


class Resampler:
    """Streaming conversion of one sound. The pieces together are the same, to the last bit, however it is cut.

    Output is aligned with the input: what is heard at input sample n leaves as sample n * 16000 / rate, without a
    shift. It is only handed out later (`MAX_DELAY_MS`); where a fixed delay matters more than the rate, as between a
    viewer's microphone and the picture, `Decimator` has one of 1 ms.
    """

    def __init__(self, rate_hz: int, to_rate_hz: int = SAMPLE_RATE_HZ) -> None:
        """Raises BadAudio for a rate outside 4 to 192 kHz. `to_rate_hz` is the engine's, or that of what is heard."""
        if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
            raise BadAudio(f"sound of {rate_hz} Hz is not taken, {MIN_RATE_HZ} to {MAX_RATE_HZ} is; resample it first")
        self._stream = soxr.ResampleStream(rate_hz, to_rate_hz, 1, dtype="float32", quality="HQ")
        self._flushed = False

    def push(self, samples: NDArray[Any]) -> NDArray[np.float32]:
        """Takes any N of int16 or float `[N]` (mono) or `[C, N]`, C of 1 or 2; returns what is ready, float32 `[M]`.

        Stereo is averaged; floats, and what the filter makes of clipped sound, are clipped to -1..1. Raises BadAudio
        for another shape or type, and for NaN or infinity; the stream is then as it was before.
        """
        assert not self._flushed, "push() after flush()"
        mono = _mono(samples)
        return self._resample(mono, last=False) if len(mono) else mono

    def flush(self) -> NDArray[np.float32]:
        """Ends the sound and returns the rest: in all, round(N * 16000 / rate) samples will have left."""
        assert not self._flushed, "flush() twice"
        self._flushed = True
        return self._resample(np.zeros(0, np.float32), last=True)

    def _resample(self, mono: NDArray[np.float32], *, last: bool) -> NDArray[np.float32]:
        return np.clip(self._stream.resample_chunk(mono, last=last), -1, 1)


def _mono(samples: NDArray[Any]) -> NDArray[np.float32]:
    """Checked, averaged over channels and scaled: float32 `[N]` in -1..1."""
    scaled: NDArray[np.float32]
    if samples.dtype == np.int16:
        scaled = samples.astype(np.float32) / _INT16_FULL_SCALE
    elif np.issubdtype(samples.dtype, np.floating):
        if not np.isfinite(samples).all():
            raise BadAudio("the sound holds NaN or infinite samples; check where it comes from")
        scaled = np.clip(samples, -1, 1).astype(np.float32)
    else:
        raise BadAudio(f"sound is int16 or float, not {samples.dtype}; convert it first")
    if scaled.ndim == 1:
        return scaled
    if scaled.ndim != 2 or scaled.shape[0] not in (1, 2):
        shape = list(samples.shape)
        raise BadAudio(f"sound is [N] or [C, N] of one or two channels, not {shape}; transpose or mix it first")
    return scaled.mean(axis=0, dtype=np.float32)
