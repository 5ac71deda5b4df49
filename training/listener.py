"""The speech encoder with two throw-away heads, which say what it has understood: what is said, and how mouths move.

How one step and one run of its training go, whoever it listens to. Knows batches; knows no voices.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from avacast.engine.config import AudioConfig
from avacast.engine.speech_encoder import SpeechEncoder
from avacast.training.checkpoint import save_stage
from avacast.training.mouth_shapes import TRACKS
from avacast.training.optimiser import Optimiser
from avacast.training.spoken_corpus import SYMBOLS, Batch, SpokenCorpus

log = logging.getLogger(__name__)

_SAVE_EVERY = 200
_VALIDATION_BATCHES, _VALIDATION_SIZE = 4, 16


class Listener(nn.Module):
    """What stage 1 trains; the avatar reads the encoder's last hidden state and needs no heads."""

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


NextBatch: TypeAlias = Callable[[], Batch]


def train_listener(
    listener: Listener,
    optimiser: Optimiser,
    num_steps: int,
    next_batch: NextBatch,
    validation: SpokenCorpus,
    path: Path,
) -> None:
    """Goes on to `num_steps`, saving to `path` as it goes."""
    listener.train()
    first = optimiser.step_index
    for step in tqdm(range(first, num_steps), path.stem.replace("_", " "), initial=first, total=num_steps):
        loss, _ = _loss(listener, next_batch())
        optimiser.step(loss)
        if (step + 1) % _SAVE_EVERY == 0:
            log.info("step %d: loss %.4f, %s", step + 1, loss.item(), _validate(listener, optimiser, validation))
            save_stage(path, listener, optimiser)
    save_stage(path, listener, optimiser)


def _loss(listener: Listener, batch: Batch) -> tuple[Tensor, Tensor]:
    device = listener.to_mouth.weight.device
    samples, symbols, mouths = (part.to(device) for part in batch)
    with torch.autocast(device.type, torch.bfloat16):
        scores, heard = listener(samples)
    length = min(scores.shape[1], symbols.shape[1])
    scores, heard = scores[:, :length].float(), heard[:, :length].float()
    classified = F.cross_entropy(scores.flatten(0, 1), symbols[:, :length].flatten(), label_smoothing=0.05)
    weights = torch.tensor([4.0, 2.0, 3.0, 2.0, 2.0], device=device)
    traced = (weights * (heard - mouths[:, :length]).square()).mean()
    return classified + 10.0 * traced, heard


@torch.no_grad()
def _validate(listener: Listener, optimiser: Optimiser, corpus: SpokenCorpus) -> str:
    """Correlation of heard and true tracks on voices and words that training never had, with the averaged weights."""
    listener.eval()
    truths, heards = [], []
    with optimiser.averaged():
        for _ in range(_VALIDATION_BATCHES):
            batch = corpus.batch(_VALIDATION_SIZE, corpus.track_s / 2)
            _, heard = _loss(listener, batch)
            truths.append(batch[2][:, : heard.shape[1]].flatten(0, 1).numpy())
            heards.append(heard.flatten(0, 1).cpu().numpy())
    listener.train()
    truth, heard = np.concatenate(truths), np.concatenate(heards)
    scores = [float(np.corrcoef(truth[:, i], heard[:, i])[0, 1]) for i in range(len(TRACKS))]
    return "validation correlation " + " ".join(f"{n} {s:.3f}" for n, s in zip(TRACKS, scores, strict=True))
