"""PCM as it comes over a network, made into samples as they are heard: bytes in, float32 at 48 kHz out.

A piece may end in the middle of a sample; the rest is expected in the next one. Knows bytes and rates; knows nothing
of where they come from.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avacast.streaming.clock import AUDIO_RATE_HZ
from avacast.streaming.resampler import Resampler

SAMPLE_BYTES = 2


class PcmStream:
    """One utterance's PCM16LE mono at `rate_hz`."""

    def __init__(self, rate_hz: int) -> None:
        self._resampler = Resampler(rate_hz, AUDIO_RATE_HZ)
        self._split = b""

    def push(self, pcm: bytes) -> NDArray[np.float32]:
        """What is ready, float32 [N]: all that came, but for the resampler's delay."""
        joined = self._split + pcm
        num_whole = len(joined) - len(joined) % SAMPLE_BYTES
        self._split = joined[num_whole:]
        return self._resampler.push(np.frombuffer(joined[:num_whole], "<i2").astype(np.int16))

    def flush(self) -> NDArray[np.float32]:
        """The rest. Half a sample at the very end is dropped."""
        return self._resampler.flush()
