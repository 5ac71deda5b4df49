"""Stage 1: the small wav2vec2 learns to hear mouths.

The released model brings a wav2vec2 pretrained on thousands of hours. Nothing like that fits here, so the pocket
encoder is trained with supervision that only synthetic speech has: the phoneme and the mouth tracks of every 20 ms.
Then it goes on with people (`self_training`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch

from avacast.engine.config import AudioConfig
from avacast.training.checkpoint import averaged_weights, load_stage
from avacast.training.listener import Listener, NextBatch, train_listener
from avacast.training.optimiser import Optimiser
from avacast.training.people import Person
from avacast.training.recipe import Recipe
from avacast.training.self_training import SelfTrainingRecipe, hear_people
from avacast.training.spoken_corpus import SpokenCorpus, Variety, joined


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
    people: SelfTrainingRecipe = field(default_factory=SelfTrainingRecipe)

    @property
    def variety(self) -> Variety:
        return Variety(self.speeds, self.other_throats)


class _Voices:
    """What synthesisers speak for stage 1, spoken when it is first wanted: that takes half an hour."""

    def __init__(self, recipe: SpeechEncoderRecipe, seed: int) -> None:
        self.recipe, self._seed = recipe, seed

    def batches(self, first_step: int, size: int) -> NextBatch:
        """Endless ones; whoever goes on at another step hears other crops."""
        corpus = replace(self._training, rng=np.random.default_rng((self._seed, first_step)))
        return partial(corpus.batch, size, self.recipe.crop_s, self.recipe.variety)

    @cached_property
    def _training(self) -> SpokenCorpus:
        return SpokenCorpus.spoken(np.random.default_rng(self._seed), self.recipe.num_tracks, self.recipe.track_s)

    @cached_property
    def validation(self) -> SpokenCorpus:
        num_tracks = max(48, self.recipe.num_tracks // 40)
        rng = np.random.default_rng(self._seed + 1)
        return SpokenCorpus.spoken(rng, num_tracks, self.recipe.track_s, validation=True)


def train_speech_encoder(
    config: AudioConfig, recipe: SpeechEncoderRecipe, people: list[Person], folder: Path, seed: int, device: str = "cpu"
) -> Path:
    """Runs or resumes stage 1; with recordings of `people`, if there are any. Returns the trained encoder's state."""
    torch.manual_seed(seed)
    voices = _Voices(recipe, seed)
    path = folder / "speech_encoder.pt"
    listener = Listener(config).to(device)
    _learn(listener, recipe, path, partial(voices.batches, size=recipe.batch_size), voices)
    for generation in range(recipe.people.num_generations if people else 0):
        teacher = Listener(config).to(device)
        teacher.load_state_dict(averaged_weights(path))
        listener.load_state_dict(teacher.state_dict())
        path = folder / f"speech_encoder_people_{generation + 1}.pt"
        _learn(listener, recipe.people, path, partial(_mixed_batches, voices, teacher, people, seed), voices)
    return path


def _learn(
    listener: Listener,
    recipe: SpeechEncoderRecipe | SelfTrainingRecipe,
    path: Path,
    begin: Callable[[int], NextBatch],
    voices: _Voices,
) -> None:
    """`begin(first_step)` is called, and the voices speak, only where something is left to do."""
    optimiser = Optimiser(listener, lr=recipe.lr, num_steps=recipe.num_steps, ema=recipe.ema)
    load_stage(path, listener, optimiser)
    if optimiser.step_index < recipe.num_steps:
        train_listener(listener, optimiser, recipe.num_steps, begin(optimiser.step_index), voices.validation, path)


def _mixed_batches(voices: _Voices, teacher: Listener, people: list[Person], seed: int, first_step: int) -> NextBatch:
    """Batches of which a share is people, heard by the teacher."""
    recipe = voices.recipe
    rng = np.random.default_rng((seed, first_step))
    heard = hear_people(teacher, people, recipe.people.speeds, recipe.track_s, rng)
    num_people = round(recipe.people.share * recipe.batch_size)
    spoken = voices.batches(first_step, recipe.batch_size - num_people)
    return lambda: joined(spoken(), heard.batch(num_people, recipe.crop_s, recipe.variety))
