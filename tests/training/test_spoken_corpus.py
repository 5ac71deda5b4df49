"""training/spoken_corpus.py: sound and what is to be heard in it stay together, however the sound is changed."""

from __future__ import annotations

import numpy as np
import pytest

from avacast.engine.config import SAMPLE_RATE_HZ
from avacast.engine.voice import Phoneme
from avacast.training.mouth_shapes import TRACKS
from avacast.training.speech import SpokenTrack
from avacast.training.spoken_corpus import SYMBOLS, TOKENS_HZ, SpokenCorpus, Variety, joined, symbol_ids


def hummed() -> SpokenTrack:
    """Five seconds in which a loud `a` of 300 ms and a pause of 200 ms take turns."""
    time_s = np.arange(5 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    heard = (time_s % 0.5 < 0.3).astype(np.float32)
    sound = (0.8 * heard * np.sign(np.sin(2 * np.pi * 150 * time_s))).astype(np.float32)
    marks = tuple(Phoneme("a", start, start + 0.3) for start in np.arange(0.0, 5.0, 0.5))
    return SpokenTrack(sound, sound, marks)


def test_silence_has_a_class_of_its_own() -> None:
    """Each letter of a phoneme takes its share of the time; a pause and what is not told apart are 0."""
    ids = symbol_ids((Phoneme("aɪ", 0.02, 0.1), Phoneme("", 0.1, 0.14), Phoneme("m", 0.14, 0.18)), 10)
    a, i, m = (1 + SYMBOLS.index(letter) for letter in "aɪm")
    assert ids.tolist() == [0, a, a, i, i, 0, 0, m, m, 0]


@pytest.mark.parametrize("speed", [0.8, 1.0, 1.25])
@pytest.mark.parametrize("other_throats", [0.0, 1.0])
def test_labels_follow_the_sound(speed: float, other_throats: float) -> None:
    """Played faster or slower, by any throat: the loud tokens are those of the vowel, and its mouth is open."""
    corpus = SpokenCorpus.of(np.random.default_rng(0), [hummed()])
    samples, symbols, mouths = corpus.batch(8, 2.0, Variety((speed, speed), other_throats))

    step = SAMPLE_RATE_HZ // TOKENS_HZ
    assert symbols.shape == (8, 2 * TOKENS_HZ)
    assert mouths.shape == (8, 2 * TOKENS_HZ, len(TRACKS))
    assert samples.shape[1] >= 2 * SAMPLE_RATE_HZ
    for sound, ids, mouth in zip(samples.numpy(), symbols.numpy(), mouths.numpy(), strict=True):
        loudness = np.log(np.abs(sound[: len(ids) * step].reshape(len(ids), step)).mean(axis=1) + 1e-4)
        assert np.corrcoef(loudness, ids > 0)[0, 1] > 0.75
        assert np.corrcoef(mouth[:, 0], ids > 0)[0, 1] > 0.75


def test_every_crop_is_another() -> None:
    """The microphone differs even where voice and place are the same; a seed gives the same crops again."""
    first, again = (SpokenCorpus.of(np.random.default_rng(3), [hummed()]).batch(4, 2.0)[0] for _ in range(2))
    assert (first == again).all()
    assert not any((first[0] == other).all() for other in first[1:])


def test_validation_speaks_in_its_own_voices() -> None:
    """As many tracks as asked for, of the length that was asked for."""
    corpus = SpokenCorpus.spoken(np.random.default_rng(0), 2, 2.0, validation=True)
    assert [len(sound) for sound in corpus.sounds] == [2 * SAMPLE_RATE_HZ] * 2
    assert all(ids.any() for ids in corpus.symbols)


def test_batches_are_joined() -> None:
    """The longer sounds are cut, since crops that are played slower are rounded up; labels are as they were."""
    rng = np.random.default_rng(0)
    first, second = (SpokenCorpus.of(rng, [hummed()]).batch(2, 1.0, Variety((speed, speed))) for speed in (0.9, 1.1))
    samples, symbols, mouths = joined(first, second)
    assert samples.shape == (4, min(first[0].shape[1], second[0].shape[1]))
    assert symbols[2:].equal(second[1])
    assert mouths[:2].equal(first[2])
