"""The speech encoder goes on with people whose words nobody wrote down: it is its own teacher.

What it hears when a recording is played at several speeds, averaged, is nearer to the truth than what it hears once,
and it is what it then learns to hear at once, through other throats and microphones and beside voices whose words are
known. Knows sound and a listener; knows no files.

Source: Park et al., Improved Noisy Student Training for Automatic Speech Recognition (2020, arXiv:2005.09629); the
average over changed copies as in Radosavovic et al., Data Distillation (2018, arXiv:1712.04440).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from avacast.engine.config import SAMPLE_RATE_HZ
from avacast.engine.sample_tail import Samples
from avacast.training.listener import Listener
from avacast.training.people import Person
from avacast.training.recipe import Recipe
from avacast.training.speech import resampled
from avacast.training.spoken_corpus import TOKENS_HZ, SpokenCorpus

_PAUSES_S = 0.05, 0.7
_GAINS_DB = -6.0, 6.0
_MARGIN_S = 0.04
"""Of a pause, at both ends: a recording does not begin and end with speech to the millisecond."""


@dataclass(frozen=True)
class SelfTrainingRecipe(Recipe):
    """How the encoder learns from people."""

    num_generations: int = 1
    """How often it becomes its own teacher; 0 for not at all. A second time gained nothing."""
    num_steps: int = 1200
    """Of each generation."""
    share: float = 0.4
    """Of the crops that are people; the others are voices whose words are known."""
    speeds: tuple[float, ...] = (0.88, 0.92, 0.96, 1.0, 1.04, 1.08, 1.13)
    """What a recording is played at for the teacher."""
    lr: float = 1e-3
    ema: float = 0.99


@dataclass(frozen=True, eq=False)
class _Track:
    """Recordings of one person [N] with pauses between them, and when these begin and end."""

    sound: Samples
    pauses_s: list[tuple[float, float]]


def hear_people(
    teacher: Listener, people: Iterable[Person], speeds: tuple[float, ...], track_s: float, rng: np.random.Generator
) -> SpokenCorpus:
    """Tracks of `track_s` with all that these people say, and what the teacher understands of it."""
    tracks = [track for person in people for track in _tracks(list(person.sounds()), track_s, rng)]
    teacher.eval()
    labels = [_understood(teacher, track, speeds) for track in tqdm(tracks, "listening to people")]
    symbols, mouths = zip(*labels, strict=True)
    return SpokenCorpus(rng, [track.sound for track in tracks], list(symbols), list(mouths))


def _tracks(recordings: list[Samples], track_s: float, rng: np.random.Generator) -> Iterator[_Track]:
    """All recordings in a new order, each as loud as it comes; what is left at the end is too short for a track."""
    length = round(track_s * SAMPLE_RATE_HZ)
    sound, pauses_s = np.zeros(0, np.float32), list[tuple[float, float]]()
    for index in rng.permutation(len(recordings)):
        pause = np.zeros(round(rng.uniform(*_PAUSES_S) * SAMPLE_RATE_HZ), np.float32)
        gain = np.float32(10.0 ** (rng.uniform(*_GAINS_DB) / 20.0))
        begins_s = len(sound) / SAMPLE_RATE_HZ
        pauses_s.append((begins_s, begins_s + len(pause) / SAMPLE_RATE_HZ))
        sound = np.concatenate([sound, pause, gain * recordings[index]])
        while len(sound) >= length:
            yield _Track(sound[:length], [pause for pause in pauses_s if pause[0] < track_s])
            sound = sound[length:]
            pauses_s = [(begin - track_s, end - track_s) for begin, end in pauses_s if end > track_s]


def _understood(
    teacher: Listener, track: _Track, speeds: tuple[float, ...]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The likeliest symbol [T] and the mouth [T, 5] of every 20 ms; a pause is one whatever was heard in it."""
    num_tokens = round(len(track.sound) / SAMPLE_RATE_HZ * TOKENS_HZ)
    scores, mouths = (np.mean(heard, axis=0) for heard in zip(*_copies(teacher, track, speeds), strict=True))
    symbols = scores.argmax(axis=1)
    for begin_s, end_s in track.pauses_s:
        first, last = (round(edge_s * TOKENS_HZ) for edge_s in (max(begin_s + _MARGIN_S, 0.0), end_s - _MARGIN_S))
        symbols[first : max(first, last)] = 0
    assert len(symbols) == num_tokens
    return symbols, mouths.astype(np.float32)


@torch.no_grad()
def _copies(
    teacher: Listener, track: _Track, speeds: tuple[float, ...]
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """What is heard at each speed, at the times of the track: chances of symbols [T, S] and mouths [T, 5]."""
    device = teacher.to_mouth.weight.device
    times = np.arange(round(len(track.sound) / SAMPLE_RATE_HZ * TOKENS_HZ)) + 0.5
    for speed in speeds:
        # The last token hears a little beyond its own 20 ms.
        sound = np.pad(resampled(track.sound, 1.0 / speed), (0, SAMPLE_RATE_HZ // TOKENS_HZ))
        scores, mouths = teacher(torch.from_numpy(sound)[None].to(device))
        places = np.minimum((times / speed).astype(int), scores.shape[1] - 1)
        yield scores[0].softmax(-1).cpu().numpy()[places], mouths[0].cpu().numpy()[places]
