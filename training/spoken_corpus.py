"""Spoken tracks with what is to be heard in them, and endless crops of them that no voice and no microphone repeats.

Knows sound, phonemes and mouths; knows no network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from avacast.engine.config import SAMPLE_RATE_HZ
from avacast.engine.voice import Phoneme
from avacast.training.mouth_shapes import base_symbols, mouth_tracks
from avacast.training.speech import SpokenTrack, degrade, resampled, spoken_track
from avacast.training.throat import Throat

TOKENS_HZ = 50
SYMBOLS = "abdefhijklmnoprstuvwxyzæðøŋœɐɑɒɔəɚɛɜɡɪɹʃʁʊʌʒʔθβɣɲɾʎçɨɫɕɥᵻ"
"""The letters of phonemes that are told apart."""
Batch: TypeAlias = tuple[Tensor, Tensor, Tensor]
"""Samples [B, N], symbols [B, T] and mouths [B, T, 5] of as many crops."""
_STEP = SAMPLE_RATE_HZ // TOKENS_HZ
_REACH = 80
"""Samples that the last token hears beyond its own."""


@dataclass(frozen=True)
class Variety:
    """How one voice stands for many. The default leaves it as it is."""

    speeds: tuple[float, float] = (1.0, 1.0)
    """Least and most, of what a crop is played at, pitch and throat included."""
    other_throats: float = 0.0
    """Share of the crops that another throat speaks, at the same pitch."""


@dataclass(frozen=True, eq=False)
class SpokenCorpus:
    """Tracks of equal length and, of every 20 ms of them, the symbol [T] and the mouth [T, 5]."""

    rng: np.random.Generator
    sounds: list[NDArray[np.float32]]
    symbols: list[NDArray[np.int64]]
    mouths: list[NDArray[np.float32]]

    @classmethod
    def spoken(cls, rng: np.random.Generator, num_tracks: int, track_s: float, *, validation: bool = False) -> Self:
        """New tracks of `track_s`; for `validation`, by voices and in words that are not trained with."""
        label = "speaking (validation)" if validation else "speaking"
        tracks = [spoken_track(rng, track_s, validation=validation) for _ in tqdm(range(num_tracks), label)]
        return cls.of(rng, tracks)

    @classmethod
    def of(cls, rng: np.random.Generator, tracks: list[SpokenTrack]) -> Self:
        """These tracks."""
        num_tokens = len(tracks[0].clean) // _STEP
        return cls(
            rng,
            [track.clean for track in tracks],
            [symbol_ids(track.phonemes, num_tokens) for track in tracks],
            [mouth_tracks(track.phonemes, num_tokens, TOKENS_HZ) for track in tracks],
        )

    @property
    def track_s(self) -> float:
        return len(self.sounds[0]) / SAMPLE_RATE_HZ

    def batch(self, size: int, crop_s: float, variety: Variety = Variety()) -> Batch:
        """New crops, each heard through a new microphone."""
        chosen = self.rng.integers(len(self.sounds), size=size)
        crops = [self._crop(int(index), round(crop_s * TOKENS_HZ), variety) for index in chosen]
        samples, symbols, mouths = zip(*crops, strict=True)
        width = min(len(sound) for sound in samples)
        stacked = torch.from_numpy(np.stack([degrade(self.rng, sound[:width]) for sound in samples]))
        return stacked, torch.from_numpy(np.stack(symbols)), torch.from_numpy(np.stack(mouths))

    def _crop(
        self, index: int, num_tokens: int, variety: Variety
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
        speed = self.rng.uniform(*variety.speeds)
        span = math.ceil(num_tokens * speed)
        start = int(self.rng.integers(len(self.symbols[index]) - span))
        tokens = start + ((np.arange(num_tokens) + 0.5) * speed).astype(int)
        sound = resampled(self.sounds[index][start * _STEP : (start + span) * _STEP + _REACH], 1.0 / speed)
        if self.rng.random() < variety.other_throats:
            sound = Throat.sample(self.rng).speak(sound)
        return sound, self.symbols[index][tokens], self.mouths[index][tokens]


def joined(first: Batch, second: Batch) -> Batch:
    """One batch of two whose crops are as long."""
    width = min(first[0].shape[1], second[0].shape[1])
    samples = torch.cat([first[0][:, :width], second[0][:, :width]])
    return samples, torch.cat([first[1], second[1]]), torch.cat([first[2], second[2]])


def symbol_ids(phonemes: tuple[Phoneme, ...], num_tokens: int) -> NDArray[np.int64]:
    """Class of every 20 ms token: 0 for silence, else 1 + the symbol's place. [T]"""
    ids = np.zeros(num_tokens, np.int64)
    for phoneme in phonemes:
        symbols = [s for s in base_symbols(phoneme.name) if s in SYMBOLS and s]
        edges = np.linspace(phoneme.start_s, phoneme.end_s, len(symbols) + 1) * TOKENS_HZ
        for symbol, start, end in zip(symbols, edges[:-1], edges[1:], strict=True):
            ids[round(start) : round(end)] = 1 + SYMBOLS.index(symbol)
    return ids
