"""How long a stream has to wait for sound: the part of its latency that no faster machine takes away.

Knows the formula; measures nothing.
"""

from __future__ import annotations

from avacast.engine.audio_features import features_reach
from avacast.engine.config import TEMPORAL_STRIDE, ModelConfig
from avacast.engine.profile import Profile


def algorithmic_latency(config: ModelConfig, profile: Profile) -> int:
    """Samples at 16 kHz from the first that a frame shows to the last that must be heard before the frame can leave.

    That of the first new frame of a window, which waits longest, with a hop of h latent frames of four video frames of
    p samples, b of them held back, and w windows of look-ahead that is waited for:

        4 p (h (1 + w) + b) + the audio features' reach beyond a window's last frame

    The first window of a stream is longer than a hop, so the first frames of a stream come later still unless silence
    goes before them.
    """
    frames = TEMPORAL_STRIDE * profile.num_latents_waited
    return frames * config.samples_per_frame + features_reach(config)
