"""training/listener.py: a speech encoder is trained by what its two heads say."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from avacast.engine.config import SAMPLE_RATE_HZ, AudioConfig
from avacast.engine.voice import Phoneme
from avacast.training.checkpoint import load_stage
from avacast.training.listener import Listener, train_listener
from avacast.training.mouth_shapes import TRACKS
from avacast.training.optimiser import Optimiser
from avacast.training.speech import SpokenTrack
from avacast.training.spoken_corpus import SYMBOLS, SpokenCorpus

# Autocast meets RMSNorm's float32 weight with bfloat16 input; torch says so once and computes in float32.
pytestmark = pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")

TRACK_S, CROP_S, SIZE, NUM_STEPS = 2.0, 1.0, 4, 80


def buzzed(rng: np.random.Generator) -> SpokenCorpus:
    """Half a second of buzzing that is said to be `a` and `m`, then silence, then noise that is `i` and `θ`."""
    time_s = np.arange(round(TRACK_S * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    buzz, noise = np.sign(np.sin(2 * np.pi * 140 * time_s)), rng.standard_normal(len(time_s))
    sound = np.where(time_s % 1 < 0.5, np.where(time_s < 1, 0.5 * buzz, 0.2 * noise), 0.0).astype(np.float32)
    phonemes = (Phoneme("a", 0.0, 0.3), Phoneme("m", 0.3, 0.5), Phoneme("i", 1.0, 1.3), Phoneme("θ", 1.3, 1.5))
    return SpokenCorpus.of(rng, [SpokenTrack(sound, sound, phonemes)])


def trained(audio: AudioConfig, path: Path, num_steps: int) -> tuple[Listener, Optimiser]:
    torch.manual_seed(0)
    listener = Listener(audio)
    optimiser = Optimiser(listener, lr=1e-2, num_steps=NUM_STEPS, ema=0.9)
    load_stage(path, listener, optimiser)
    corpus = buzzed(np.random.default_rng(optimiser.step_index))
    train_listener(listener, optimiser, num_steps, partial(corpus.batch, SIZE, CROP_S), corpus, path)
    return listener, optimiser


def test_it_says_a_symbol_and_a_mouth_for_every_20_ms(audio: AudioConfig) -> None:
    """One class more than there are symbols: silence."""
    scores, mouths = Listener(audio)(torch.zeros(2, SAMPLE_RATE_HZ + 80))
    assert scores.shape == (2, 50, len(SYMBOLS) + 1)
    assert mouths.shape == (2, 50, len(TRACKS))


def test_it_learns_what_it_is_told(audio: AudioConfig, tmp_path: Path) -> None:
    """After some steps sound and silence are told apart, by the averaged weights too."""
    listener, optimiser = trained(audio, tmp_path / "listener.pt", NUM_STEPS)
    samples, symbols, mouths = buzzed(np.random.default_rng(9)).batch(4, CROP_S)
    listener.eval()
    with torch.no_grad(), optimiser.averaged():
        _, heard = listener(samples)
    jaw = torch.stack([heard[:, : symbols.shape[1], 0].flatten(), mouths[..., 0].flatten()])
    assert torch.corrcoef(jaw)[0, 1] > 0.5


def test_it_goes_on_where_it_stopped(audio: AudioConfig, tmp_path: Path) -> None:
    """A finished run has nothing left to do."""
    path = tmp_path / "listener.pt"
    assert trained(audio, path, 3)[1].step_index == 3
    listener, optimiser = trained(audio, path, 5)
    assert optimiser.step_index == 5
    again, _ = trained(audio, path, 5)
    assert all(value.equal(listener.state_dict()[name]) for name, value in again.state_dict().items())


def test_every_200_steps_it_tells_how_well_it_hears(
    audio: AudioConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The correlation of each track, on tracks that are not trained with."""
    caplog.set_level(logging.INFO)
    torch.manual_seed(0)
    listener = Listener(audio)
    optimiser = Optimiser(listener, lr=1e-3, num_steps=200, ema=0.9)
    optimiser.step_index = 198
    corpus = buzzed(np.random.default_rng(0))
    train_listener(listener, optimiser, 200, partial(corpus.batch, SIZE, CROP_S), corpus, tmp_path / "listener.pt")
    (line,) = caplog.messages
    assert line.startswith("step 200: loss ")
    assert all(f"{name} " in line for name in TRACKS)
