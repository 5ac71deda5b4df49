"""training/pocket.py: the recipe end to end, at a size where every stage takes seconds."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from avacast.engine.config import AudioConfig, ModelConfig, VAEConfig
from avacast.engine.pipeline import Pipeline
from avacast.engine.presets import POCKET
from avacast.engine.profile import WindowConfig
from avacast.engine.tiny_vae import TinyVAE
from avacast.engine.voice import Voice
from avacast.training.autoencoder import AutoencoderRecipe, initialise_as_pooling
from avacast.training.avatar import AvatarRecipe, train_avatar
from avacast.training.checkpoint import averaged_weights
from avacast.training.corpus import CachedClips
from avacast.training.decoder import DecoderRecipe
from avacast.training.people import Person
from avacast.training.pocket import PocketRecipe, prepare, publish
from avacast.training.self_training import SelfTrainingRecipe
from avacast.training.speech_encoder import SpeechEncoderRecipe

# Autocast meets RMSNorm's float32 weight with bfloat16 input; torch says so once and computes in float32.
pytestmark = pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")

RECIPE = PocketRecipe(
    SpeechEncoderRecipe(
        num_tracks=4,
        track_s=2.0,
        crop_s=1.0,
        batch_size=2,
        num_steps=2,
        people=SelfTrainingRecipe(num_generations=2, num_steps=2, share=0.5, speeds=(0.9, 1.0)),
    ),
    AutoencoderRecipe(num_clips=2, num_frames=5, crop=32, batch_size=2, num_steps=2),
    DecoderRecipe(num_clips=2, num_frames=5, crop=32, batch_size=2, num_steps=2),
    AvatarRecipe(
        num_clips=2, num_latents=4, batch_size=2, num_steps=3, validate_every=100, window_lengths=(3, 4), compile=False
    ),
)


@pytest.fixture(scope="module")
def config(audio: AudioConfig) -> ModelConfig:
    """The pocket model, narrowed until a step costs nothing."""
    return dataclasses.replace(
        POCKET,
        dit=dataclasses.replace(POCKET.dit, dim=32, ffn_dim=64, num_heads=2, num_layers=1, audio_in_dim=32),
        vae=VAEConfig(decoder_widths=(8, 8, 8, 8), encoder_width=8),
        audio=audio,
        window=WindowConfig(window=3, overlap=1, ramp="open", fuse_first_step=True),
        height=64,
        width=64,
    )


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Person:
    """Three seconds of somebody."""
    path = tmp_path_factory.mktemp("people") / "hello.wav"
    speech = Voice().speak("The quick brown fox jumps over the lazy dog and nobody minds.")
    soundfile.write(path, speech.samples, speech.sample_rate_hz)
    return Person("somebody", (path,))


@pytest.fixture(scope="module")
def run(
    config: ModelConfig, person: Person, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, ModelConfig, CachedClips]:
    """One whole run of the recipe: the bundle it wrote, its configuration and the cached clips."""
    folder = tmp_path_factory.mktemp("run")
    trained, networks, clips = prepare(config, RECIPE, [person], folder, seed=0)
    avatar = train_avatar(networks, trained, RECIPE.avatar, clips, folder, seed=0, report=False)
    publish(trained, networks, averaged_weights(avatar), folder / "bundle")
    return folder, trained, clips


def test_the_bundle_speaks(run: tuple[Path, ModelConfig, CachedClips]) -> None:
    """What the recipe writes is what the engine loads: picture and sound in, as many frames as the sound is long."""
    folder, config, _ = run
    pipeline = Pipeline.load(folder / "bundle")
    assert pipeline.config == config
    session = pipeline.open_session(np.full((64, 64, 3), 128, np.uint8))
    session.push(np.zeros(16_000, np.float32))
    session.flush()
    frames = []
    while not session.finished:
        frames += session.pull()
    assert [frame.pts for frame in frames] == list(range(25))


def test_latents_are_normalised(run: tuple[Path, ModelConfig, CachedClips]) -> None:
    """The configuration carries the corpus's mean and deviation of every channel, so the transformer sees unit size."""
    _, config, clips = run
    mean, std = torch.tensor(config.vae.latents_mean), torch.tensor(config.vae.latents_std)
    normal = (clips.latents.float() - mean[:, None, None, None]) / std[:, None, None, None]
    assert normal.mean().abs() < 0.1
    assert normal.std() == pytest.approx(1.0, abs=0.1)


def test_masks_cover_the_mouth_within_the_face(run: tuple[Path, ModelConfig, CachedClips]) -> None:
    """The lip mask is small, not empty, and lies where the face mask is."""
    clips = run[2]
    lip, face = clips.lip.float() / 255, clips.face.float() / 255
    assert 0.005 < lip.mean() < face.mean() < 0.7
    assert (face[lip > 0.9] > 0.5).float().mean() > 0.9


def test_the_eyes_lie_in_the_face_above_the_mouth(run: tuple[Path, ModelConfig, CachedClips]) -> None:
    """Where the error counts more while they blink."""
    clips = run[2]
    eyes, lip, face = (mask.float() / 255 for mask in (clips.eyes, clips.lip.amax(1), clips.face.amax(1)))
    rows = torch.arange(eyes.shape[-2]).view(1, -1, 1)
    assert (face[eyes > 0.9] > 0.5).float().mean() > 0.8
    assert (eyes * rows).sum() / eyes.sum() < (lip * rows).sum() / lip.sum() - 1


def test_a_finished_run_goes_on_where_it_stopped(
    run: tuple[Path, ModelConfig, CachedClips], config: ModelConfig, person: Person
) -> None:
    """The same command on a finished folder trains nothing again and finds the same weights."""
    folder, trained, clips = run
    before = averaged_weights(folder / "avatar.pt")
    again, networks, _ = prepare(config, RECIPE, [person], folder, seed=0)
    train_avatar(networks, again, RECIPE.avatar, clips, folder, seed=0, report=False)
    after = averaged_weights(folder / "avatar.pt")
    assert again == trained
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_an_untrained_autoencoder_already_carries_colours() -> None:
    """The structured start: a flat grey-blue picture comes back nearly unchanged before the first step."""
    torch.manual_seed(0)
    vae = TinyVAE(POCKET.vae)
    initialise_as_pooling(vae)
    flat = torch.tensor([0.3, 0.5, 0.7])[None, None, :, None, None].expand(1, 5, 3, 64, 64)
    with torch.no_grad():
        drawn = vae.decode(vae.encode_causal(flat))
    inner = drawn[..., 16:-16, 16:-16] - flat[..., 16:-16, 16:-16]
    assert inner.abs().max() < 0.05
