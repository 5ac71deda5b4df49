"""Spoken tracks for training."""

from __future__ import annotations

import numpy as np

from avacast.engine.config import SAMPLE_RATE_HZ
from avacast.training.speech import degrade, spoken_track


def test_a_seed_gives_one_track_of_exact_length() -> None:
    """The same generator state gives the same words; the length is what was asked for."""
    first, again = (spoken_track(np.random.default_rng(3), 2.0) for _ in range(2))
    assert len(first.samples) == len(first.clean) == 2 * SAMPLE_RATE_HZ
    assert [p.name for p in first.phonemes] == [p.name for p in again.phonemes]


def test_phonemes_lie_where_the_sound_is() -> None:
    """The clean track is loud within phonemes and quiet outside."""
    inside, outside = [], []
    for seed in range(8):
        track = spoken_track(np.random.default_rng(seed), 4.0)
        spoken = np.zeros(len(track.clean), bool)
        for phoneme in track.phonemes:
            if phoneme.name:
                spoken[int(phoneme.start_s * SAMPLE_RATE_HZ) : int(phoneme.end_s * SAMPLE_RATE_HZ)] = True
        inside.append(track.clean[spoken])
        outside.append(track.clean[~spoken])
    assert np.std(np.concatenate(inside)) > 5 * np.std(np.concatenate(outside))


def test_degrading_keeps_length_and_range() -> None:
    """Whatever the microphone does, samples stay finite, in [-1, 1] and in place."""
    clean = spoken_track(np.random.default_rng(0), 2.0).clean
    for seed in range(20):
        heard = degrade(np.random.default_rng(seed), clean)
        assert heard.shape == clean.shape
        assert np.isfinite(heard).all()
        assert np.abs(heard).max() <= 1.0
