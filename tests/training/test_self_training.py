"""training/self_training.py: what the teacher understands of people, at the times at which they say it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from avacast.engine.config import SAMPLE_RATE_HZ, AudioConfig
from avacast.training.listener import Listener
from avacast.training.people import Person
from avacast.training.self_training import hear_people
from avacast.training.spoken_corpus import TOKENS_HZ

TRACK_S = 2.0
STEP = SAMPLE_RATE_HZ // TOKENS_HZ


class _LoudnessListener(Listener):
    """Understands one thing, of which the truth is known: how loud a sound is."""

    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        pieces = samples[:, : samples.shape[1] // STEP * STEP].unflatten(1, (-1, STEP))
        loudness = pieces.abs().mean(-1, keepdim=True)
        return torch.cat([0.05 - loudness, loudness], -1) * 1000, loudness.expand(-1, -1, 5)


def recordings(folder: Path, num_files: int) -> Iterator[Path]:
    """Two tones of 300 ms in each, 200 ms apart."""
    times_s = np.arange(round(0.8 * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    tones = np.where(times_s % 0.5 < 0.3, np.sin(2 * np.pi * 300 * times_s), 0.0)
    for number in range(num_files):
        path = folder / f"{number}.wav"
        soundfile.write(path, 0.5 * tones, SAMPLE_RATE_HZ)
        yield path


@pytest.mark.parametrize("speeds", [(1.0,), (0.85, 1.0, 1.15)])
def test_labels_stand_where_the_sound_is(tmp_path: Path, audio: AudioConfig, speeds: tuple[float, ...]) -> None:
    """However fast the teacher heard it: the mouth is open, and a symbol is there, where it is loud."""
    person = Person("tones", tuple(recordings(tmp_path, 8)))
    corpus = hear_people(_LoudnessListener(audio), [person], speeds, TRACK_S, np.random.default_rng(0))
    assert len(corpus.sounds) >= 3
    for sound, symbols, mouth in zip(corpus.sounds, corpus.symbols, corpus.mouths, strict=True):
        assert len(sound) == TRACK_S * SAMPLE_RATE_HZ
        assert symbols.shape == (TRACK_S * TOKENS_HZ,)
        assert mouth.shape == (TRACK_S * TOKENS_HZ, 5)
        loudness = np.abs(sound).reshape(-1, STEP).mean(axis=1)
        assert np.corrcoef(loudness, mouth[:, 0])[0, 1] > 0.8
        assert np.corrcoef(loudness > 0.05, symbols > 0)[0, 1] > 0.7


class _Dreamer(_LoudnessListener):
    """Understands something in silence too."""

    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        scores, mouths = super().forward(samples)
        return torch.stack([torch.zeros_like(scores[..., 0]), torch.ones_like(scores[..., 0])], -1), mouths


def test_a_pause_is_one_whatever_was_heard_in_it(tmp_path: Path, audio: AudioConfig) -> None:
    """Between two recordings nobody speaks, and that is known."""
    person = Person("tones", tuple(recordings(tmp_path, 8)))
    corpus = hear_people(_Dreamer(audio), [person], (1.0,), TRACK_S, np.random.default_rng(0))
    symbols = np.concatenate(corpus.symbols)
    assert 0.05 < (symbols == 0).mean() < 0.5
    assert np.abs(np.concatenate(corpus.sounds)).reshape(-1, STEP).max(axis=1)[symbols == 0].max() == 0.0


def test_people_are_heard_one_by_one(tmp_path: Path, audio: AudioConfig) -> None:
    """No track has two of them, and a seed gives the same tracks again."""
    people = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        people.append(Person(name, tuple(recordings(tmp_path / name, 5))))
    teacher = _LoudnessListener(audio)
    both, again = (hear_people(teacher, people, (1.0,), TRACK_S, np.random.default_rng(1)) for _ in range(2))
    alone = hear_people(teacher, people[:1], (1.0,), TRACK_S, np.random.default_rng(1))
    assert len(both.sounds) == 2 * len(alone.sounds)
    assert all(np.array_equal(first, second) for first, second in zip(both.sounds, again.sounds, strict=True))


def test_a_real_listener_is_a_teacher(tmp_path: Path, audio: AudioConfig) -> None:
    """Trained or not, it gives a symbol and a mouth for every 20 ms."""
    torch.manual_seed(0)
    person = Person("tones", tuple(recordings(tmp_path, 5)))
    corpus = hear_people(Listener(audio), [person], (0.9, 1.0, 1.1), TRACK_S, np.random.default_rng(0))
    samples, symbols, mouths = corpus.batch(2, 1.0)
    assert samples.shape[1] >= SAMPLE_RATE_HZ
    assert symbols.shape == (2, TOKENS_HZ)
    assert torch.isfinite(mouths).all()
