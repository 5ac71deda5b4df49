"""`avacast train pocket`: the whole recipe of the embedded model, stage by stage, resumable at any point."""

from __future__ import annotations

import dataclasses
import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import torch
import typer
from tqdm.contrib.logging import logging_redirect_tqdm

from avacast.engine.bundle import write_bundle
from avacast.engine.config import ModelConfig
from avacast.engine.networks import Networks
from avacast.engine.precision_choice import choose_precision
from avacast.engine.presets import POCKET
from avacast.training.autoencoder import AutoencoderRecipe, train_autoencoder
from avacast.training.avatar import AvatarRecipe, train_avatar
from avacast.training.checkpoint import averaged_weights
from avacast.training.corpus import CachedClips, cache_clips, load_clips
from avacast.training.decoder import DecoderRecipe, train_decoder
from avacast.training.people import PACKAGES, Person, installed_people
from avacast.training.recipe import Recipe
from avacast.training.recorded_voice import TRAINING_VOICES, installed_voices
from avacast.training.speech_encoder import SpeechEncoderRecipe, train_speech_encoder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PocketRecipe(Recipe):
    """All stages."""

    speech_encoder: SpeechEncoderRecipe = field(default_factory=SpeechEncoderRecipe)
    autoencoder: AutoencoderRecipe = field(default_factory=AutoencoderRecipe)
    decoder: DecoderRecipe = field(default_factory=DecoderRecipe)
    avatar: AvatarRecipe = field(default_factory=AvatarRecipe)


def pocket(
    recipe: Annotated[
        Path | None, typer.Option(help="TOML file of the numbers that differ, a table for each stage: see below.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder of the run: checkpoints, cache, previews, log.")] = Path(
        "runs/pocket"
    ),
    bundle: Annotated[Path, typer.Option(help="Where the finished bundle is written.")] = Path("engine/pocket"),
    seed: Annotated[int, typer.Option(help="Seed of weights, data and noise.")] = 0,
    threads: Annotated[int, typer.Option(min=1, max=256, help="CPU threads.")] = 2,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto: a GPU when there is one.")] = "auto",
) -> None:
    """Train the embedded pocket avatar from nothing: draw, speak, learn, and write the bundle.

    Four stages: a speech encoder that hears mouths, first of voices and then of people, an auto-encoder that draws
    them, its decoder once more by itself, a transformer that moves them.
    Stop it at any time; the same command goes on where it stopped.

    A recipe names what it changes, for example `[avatar]`, `num_steps = 800`, `[autoencoder]`, `num_steps = 1000`;
    the tables are speech_encoder (with speech_encoder.people), autoencoder, decoder and avatar, and the log begins
    with all their numbers.
    """
    sizes = PocketRecipe.read(recipe) if recipe else PocketRecipe()
    torch.set_num_threads(threads)
    output.mkdir(parents=True, exist_ok=True)
    handlers = [logging.FileHandler(output / "log.txt"), logging.StreamHandler()]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", handlers=handlers)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    log.info("training on %s", device)
    if missing := len(TRAINING_VOICES) - len(installed_voices()):
        log.warning("%d of %d voices of people are not installed: see README", missing, len(TRAINING_VOICES))
    log.info("recipe %s", json.dumps(sizes.to_dict()))
    people = installed_people()
    if not people:
        log.warning("no recordings of people are installed: apt install %s", " ".join(PACKAGES))
    with logging_redirect_tqdm():
        config, networks, clips = prepare(POCKET, sizes, people, output, seed, device)
        avatar = train_avatar(networks, config, sizes.avatar, clips, output, seed, device)
    publish(config, networks, averaged_weights(avatar), bundle)
    log.info("the bundle is written to %s", bundle)


def prepare(
    config: ModelConfig, recipe: PocketRecipe, people: list[Person], output: Path, seed: int, device: str = "cpu"
) -> tuple[ModelConfig, Networks, CachedClips]:
    """All stages but the last, and the cached corpus. Returns the configuration with the latents' statistics."""
    size = config.height
    speech = train_speech_encoder(config.audio, recipe.speech_encoder, people, output, seed, device)
    autoencoder = train_autoencoder(config.vae, recipe.autoencoder, output, seed, size, device)
    networks = Networks.build(config)
    networks.speech_encoder.load_state_dict(averaged_weights(speech, "encoder."))
    decoder = train_decoder(config.vae, recipe.decoder, autoencoder, output, seed, size, device)
    networks.vae.load_state_dict(averaged_weights(decoder))
    networks = networks.for_inference(device, choose_precision(config, device))
    avatar = recipe.avatar
    paths = cache_clips(
        networks, config, output / "cache", first_seed=seed, num_clips=avatar.num_clips, num_latents=avatar.num_latents
    )
    clips = load_clips(paths)
    mean, std = clips.statistics()
    config = dataclasses.replace(config, vae=dataclasses.replace(config.vae, latents_mean=mean, latents_std=std))
    normalised = Networks.build(config)
    normalised.speech_encoder.load_state_dict(networks.speech_encoder.state_dict())
    normalised.vae.load_state_dict(networks.vae.state_dict())
    return config, normalised.for_inference(device, choose_precision(config, device)), clips


def publish(config: ModelConfig, networks: Networks, dit: dict[str, torch.Tensor], bundle: Path) -> None:
    """Writes the bundle: weights in bfloat16, half the size."""
    states = {
        "dit": dit,
        "vae": networks.vae.state_dict(),
        "speech_encoder": networks.speech_encoder.state_dict(),
    }
    weights = {
        name: {key: value.bfloat16() if value.is_floating_point() else value for key, value in state.items()}
        for name, state in states.items()
    }
    write_bundle(bundle, config, weights)
