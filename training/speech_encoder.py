"""Stage 1: the small wav2vec2 learns to hear mouths.

The released model brings a wav2vec2 pretrained on thousands of hours. Nothing like that fits here, so the pocket
encoder is trained with supervision that only synthetic speech has: the phoneme and the mouth tracks of every 20 ms.
The two read-out heads are thrown away afterwards; the avatar reads the last hidden state.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from avacast.engine.config import SAMPLE_RATE_HZ, AudioConfig
from avacast.engine.speech_encoder import SpeechEncoder
from avacast.engine.voice import Phoneme
from avacast.training.checkpoint import load_stage, save_stage
from avacast.training.mouth_shapes import TRACKS, base_symbols, mouth_tracks
from avacast.training.optimiser import Optimiser
from avacast.training.recipe import Recipe
from avacast.training.speech import SpokenTrack, degrade, resampled, spoken_track

TOKENS_HZ = 50
_SYMBOLS = "abdefhijklmnoprstuvwxyzæðøŋœɐɑɒɔəɚɛɜɡɪɹʃʁʊʌʒʔθβɣɲɾʎçɨɫɕɥᵻ"


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SpeechEncoderRecipe(Recipe):
    """Sizes of stage 1."""

    num_tracks: int = 2400
    track_s: float = 5.0
    crop_s: float = 2.56
    speeds: tuple[float, float] = (0.88, 1.14)
    """Least and most, of what a crop is played at."""
    batch_size: int = 16
    num_steps: int = 1600
    lr: float = 2e-3
    ema: float = 0.995


class _Listener(nn.Module):
    """The encoder with its two throw-away heads."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.encoder = SpeechEncoder(config)
        width = int(config.wav2vec2["hidden_size"])
        self.to_symbol = nn.Linear(width, len(_SYMBOLS) + 1)
        self.to_mouth = nn.Linear(width, len(TRACKS))

    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Samples [B, N] -> symbol scores [B, T, S], mouth tracks [B, T, 5]."""
        hidden = self.encoder(samples)
        return self.to_symbol(hidden), self.to_mouth(hidden)


def symbol_ids(phonemes: tuple[Phoneme, ...], num_tokens: int) -> NDArray[np.int64]:
    """Class of every 20 ms token: 0 for silence, else 1 + the symbol's place. [T]"""
    ids = np.zeros(num_tokens, np.int64)
    for phoneme in phonemes:
        symbols = [s for s in base_symbols(phoneme.name) if s in _SYMBOLS and s]
        edges = np.linspace(phoneme.start_s, phoneme.end_s, len(symbols) + 1) * TOKENS_HZ
        for symbol, start, end in zip(symbols, edges[:-1], edges[1:], strict=True):
            ids[round(start) : round(end)] = 1 + _SYMBOLS.index(symbol)
    return ids


class _Corpus:
    """Spoken tracks with their labels; every draw is a new crop, at a new speed, heard through a new microphone."""

    def __init__(self, recipe: SpeechEncoderRecipe, rng: np.random.Generator, *, validation: bool = False) -> None:
        self._recipe, self._rng, self._varied = recipe, rng, not validation
        count = max(48, recipe.num_tracks // 40) if validation else recipe.num_tracks
        label = "speaking (validation)" if validation else "speaking"
        num_tokens = round(recipe.track_s * TOKENS_HZ)
        self._tracks: list[SpokenTrack] = []
        self._symbols: list[NDArray[np.int64]] = []
        self._mouths: list[NDArray[np.float32]] = []
        for _ in tqdm(range(count), label):
            track = spoken_track(rng, recipe.track_s, validation=validation)
            self._tracks.append(track)
            self._symbols.append(symbol_ids(track.phonemes, num_tokens))
            self._mouths.append(mouth_tracks(track.phonemes, num_tokens, TOKENS_HZ))

    def batch(self) -> tuple[Tensor, Tensor, Tensor]:
        """Samples [B, N], symbols [B, T], mouths [B, T, 5]."""
        chosen = self._rng.integers(len(self._tracks), size=self._recipe.batch_size)
        samples, symbols, mouths = zip(*(self._crop(int(index)) for index in chosen), strict=True)
        width = min(len(s) for s in samples)
        stacked = torch.from_numpy(np.stack([s[:width] for s in samples]))
        return stacked, torch.from_numpy(np.stack(symbols)), torch.from_numpy(np.stack(mouths))

    def _crop(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
        """Faster is higher and of a shorter throat: one voice stands for several."""
        speed = self._rng.uniform(*self._recipe.speeds) if self._varied else 1.0
        num_tokens = round(self._recipe.crop_s * TOKENS_HZ)
        span = math.ceil(num_tokens * speed)
        start = int(self._rng.integers(round(self._recipe.track_s * TOKENS_HZ) - span))
        tokens = start + ((np.arange(num_tokens) + 0.5) * speed).astype(int)
        step = SAMPLE_RATE_HZ // TOKENS_HZ
        sound = resampled(self._tracks[index].clean[start * step : (start + span) * step + 80], 1.0 / speed)
        return degrade(self._rng, sound), self._symbols[index][tokens], self._mouths[index][tokens]


def train_speech_encoder(
    config: AudioConfig, recipe: SpeechEncoderRecipe, folder: Path, seed: int, device: str = "cpu"
) -> Path:
    """Runs or resumes stage 1. Returns the path of the trained encoder's state."""
    torch.manual_seed(seed)
    listener = _Listener(config).to(device)
    optimiser = Optimiser(listener, lr=recipe.lr, num_steps=recipe.num_steps, ema=recipe.ema)
    path = folder / "speech_encoder.pt"
    load_stage(path, listener, optimiser)
    if optimiser.step_index >= recipe.num_steps:
        return path
    rng = np.random.default_rng(seed + optimiser.step_index)
    corpus = _Corpus(recipe, rng)
    validation = _Corpus(recipe, np.random.default_rng(seed + 1), validation=True)
    listener.train()
    bar = tqdm(
        range(optimiser.step_index, recipe.num_steps),
        "speech encoder",
        initial=optimiser.step_index,
        total=recipe.num_steps,
    )
    for step in bar:
        loss, _ = _loss(listener, *corpus.batch())
        optimiser.step(loss)
        if (step + 1) % 200 == 0:
            log.info("step %d: loss %.4f, %s", step + 1, loss.item(), _validate(listener, optimiser, validation))
            save_stage(path, listener, optimiser)
    save_stage(path, listener, optimiser)
    return path


def _loss(listener: _Listener, samples: Tensor, symbols: Tensor, mouths: Tensor) -> tuple[Tensor, Tensor]:
    device = listener.to_mouth.weight.device
    samples, symbols, mouths = samples.to(device), symbols.to(device), mouths.to(device)
    with torch.autocast(device.type, torch.bfloat16):
        scores, heard = listener(samples)
    length = min(scores.shape[1], symbols.shape[1])
    scores, heard = scores[:, :length].float(), heard[:, :length].float()
    classified = F.cross_entropy(scores.flatten(0, 1), symbols[:, :length].flatten(), label_smoothing=0.05)
    weights = torch.tensor([4.0, 2.0, 3.0, 2.0, 2.0], device=device)
    traced = (weights * (heard - mouths[:, :length]).square()).mean()
    return classified + 10.0 * traced, heard


@torch.no_grad()
def _validate(listener: _Listener, optimiser: Optimiser, corpus: _Corpus) -> str:
    """Correlation of heard and true tracks on voices and words that training never had, with the averaged weights."""
    listener.eval()
    truths, heards = [], []
    with optimiser.averaged():
        for _ in range(4):
            samples, symbols, mouths = corpus.batch()
            _, heard = _loss(listener, samples, symbols, mouths)
            truths.append(mouths[:, : heard.shape[1]].flatten(0, 1).numpy())
            heards.append(heard.flatten(0, 1).cpu().numpy())
    listener.train()
    truth, heard = np.concatenate(truths), np.concatenate(heards)
    scores = [float(np.corrcoef(truth[:, i], heard[:, i])[0, 1]) for i in range(len(TRACKS))]
    return "validation correlation " + " ".join(f"{n} {s:.3f}" for n, s in zip(TRACKS, scores, strict=True))
