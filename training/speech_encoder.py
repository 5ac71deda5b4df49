"""Stage 1: the small wav2vec2 learns to hear mouths.

The released model brings a wav2vec2 pretrained on thousands of hours. Nothing like that fits here, so the pocket
encoder is trained with supervision that only synthetic speech has: the phoneme and the mouth tracks of every 20 ms.
The two read-out heads are thrown away afterwards; the avatar reads the last hidden state.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from avacast.engine.config import AudioConfig
from avacast.engine.speech_encoder import SpeechEncoder
from avacast.training.checkpoint import load_stage, save_stage
from avacast.training.mouth_shapes import TRACKS
from avacast.training.optimiser import Optimiser
from avacast.training.recipe import Recipe
from avacast.training.spoken_corpus import SYMBOLS, SpokenCorpus, Variety

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SpeechEncoderRecipe(Recipe):
    """Sizes of stage 1."""

    num_tracks: int = 2400
    track_s: float = 5.0
    crop_s: float = 2.56
    speeds: tuple[float, float] = (0.88, 1.14)
    """Least and most, of what a crop is played at."""
    other_throats: float = 0.7
    """Share of the crops that another throat speaks."""
    batch_size: int = 16
    num_steps: int = 4000
    lr: float = 2e-3
    ema: float = 0.995


class _Listener(nn.Module):
    """The encoder with its two throw-away heads."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.encoder = SpeechEncoder(config)
        width = int(config.wav2vec2["hidden_size"])
        self.to_symbol = nn.Linear(width, len(SYMBOLS) + 1)
        self.to_mouth = nn.Linear(width, len(TRACKS))

    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Samples [B, N] -> symbol scores [B, T, S], mouth tracks [B, T, 5]."""
        hidden = self.encoder(samples)
        return self.to_symbol(hidden), self.to_mouth(hidden)


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
    variety = Variety(recipe.speeds, recipe.other_throats)
    corpus = SpokenCorpus.spoken(rng, recipe.num_tracks, recipe.track_s)
    validation = SpokenCorpus.spoken(
        np.random.default_rng(seed + 1), max(48, recipe.num_tracks // 40), recipe.track_s, validation=True
    )
    listener.train()
    bar = tqdm(
        range(optimiser.step_index, recipe.num_steps),
        "speech encoder",
        initial=optimiser.step_index,
        total=recipe.num_steps,
    )
    for step in bar:
        loss, _ = _loss(listener, *corpus.batch(recipe.batch_size, recipe.crop_s, variety))
        optimiser.step(loss)
        if (step + 1) % 200 == 0:
            log.info(
                "step %d: loss %.4f, %s", step + 1, loss.item(), _validate(listener, optimiser, validation, recipe)
            )
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
def _validate(listener: _Listener, optimiser: Optimiser, corpus: SpokenCorpus, recipe: SpeechEncoderRecipe) -> str:
    """Correlation of heard and true tracks on voices and words that training never had, with the averaged weights."""
    listener.eval()
    truths, heards = [], []
    with optimiser.averaged():
        for _ in range(4):
            samples, symbols, mouths = corpus.batch(recipe.batch_size, recipe.crop_s)
            _, heard = _loss(listener, samples, symbols, mouths)
            truths.append(mouths[:, : heard.shape[1]].flatten(0, 1).numpy())
            heards.append(heard.flatten(0, 1).cpu().numpy())
    listener.train()
    truth, heard = np.concatenate(truths), np.concatenate(heards)
    scores = [float(np.corrcoef(truth[:, i], heard[:, i])[0, 1]) for i in range(len(TRACKS))]
    return "validation correlation " + " ".join(f"{n} {s:.3f}" for n, s in zip(TRACKS, scores, strict=True))
