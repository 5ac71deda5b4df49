"""`avacast train finetune`: a model learns from a folder of videos, by the recipe that made the pocket avatar.

Knows the command line and the order of things: check everything, encode the videos once, train, write the bundle.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
import typer
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from avacast.engine.bundle import load_bundle
from avacast.engine.device import chosen_device
from avacast.engine.errors import BadSetting
from avacast.engine.pipeline import Pipeline
from avacast.training.clip_cache import ClipPlan, cached_clips
from avacast.training.finetune_folder import FinetuneFolder
from avacast.training.finetune_recipe import FinetuneRecipe
from avacast.training.finetuning import Finetuning
from avacast.training.video_folder import find_videos

log = logging.getLogger(__name__)


def finetune(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of the model to start from; only read.")],
    videos: Annotated[Path, typer.Argument(metavar="VIDEOS", help="Folder of videos with sound, and their masks.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the run: cache, checkpoints, previews, the new bundle.")
    ],
    recipe: Annotated[Path | None, typer.Option(help="TOML file of settings; the options below come first.")] = None,
    lora_rank: Annotated[int | None, typer.Option(min=1, help="Rank of the adapters.", show_default="16")] = None,
    full: Annotated[bool, typer.Option("--full", help="Train all weights of the transformer, no adapters.")] = False,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps.", show_default="2000")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of adapters, clips and noise.")] = 0,
    threads: Annotated[int, typer.Option(min=0, max=256, help="CPU threads; 0 leaves the choice to PyTorch.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto: a GPU when there is one.")] = "auto",
) -> None:
    """Fine-tune a model on your videos, with adapters (LoRA) or all weights.

    VIDEOS holds files of any format with a sound track, each at least one window of the model long (3.3 s for
    stableavatar-1.3b). They are brought to 25 pictures a second and 16 kHz, and the centre is cut out in the model's
    shape. Beside NAME.mp4 there may be masks, white inside: NAME.face.mp4 or .png and NAME.lips.mp4 or .png, a video
    as long as NAME.mp4 or a still. The error counts more inside them; a mask that is missing is the whole frame.

    Everything is checked and encoded first, once. Stop it at any time: the same command goes on from the last
    checkpoint, on a CPU to the very same weights. At the end OUTPUT/bundle is a model like any other, and
    OUTPUT/adapter.safetensors holds the adapters alone.

    A recipe is a file of `name = value` lines, such as `lr = 5e-5`, `batch_size = 4`, `lora_alpha = 32.0`,
    `lora_targets = ["self_attn", "cross_attn", "ffn", "vocal_projector"]`, `audio_dropout = 0.1`; a name that is
    not known is refused with the list of those that are.

    Examples:

        avacast train finetune models/stableavatar videos/ -o runs/ada

        avacast train finetune models/stableavatar videos/ -o runs/ada --lora-rank 64 --recipe ada.toml

        avacast render ada.png speech.wav --bundle runs/ada/bundle
    """
    if threads:
        torch.set_num_threads(threads)
    settings = _settings(recipe, lora_rank, full, steps)
    chosen = chosen_device(device)
    # The file is opened when there is something to write, after the folder was made.
    handlers = [logging.FileHandler(output / "log.txt", delay=True), logging.StreamHandler()]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", handlers=handlers)
    with logging_redirect_tqdm():
        run_finetune(bundle, videos, output, settings, seed=seed, device=chosen)
    typer.echo(f"{output / 'bundle'}: written; try `avacast render PORTRAIT AUDIO --bundle {output / 'bundle'}`")


def run_finetune(
    bundle: Path,
    videos: Path,
    output: Path,
    recipe: FinetuneRecipe,
    *,
    seed: int = 0,
    device: str = "cpu",
    on_step: Callable[[int, float], None] = lambda _steps_done, _loss: None,
) -> FinetuneFolder:
    """The whole run, or the rest of it; `on_step(steps_done, loss)` is called after each training step.

    Raises BadBundle, BadSetting, BadVideo or BadAudio for whatever is wrong with what is given.
    """
    source, folder = load_bundle(bundle), FinetuneFolder(output)
    config = source.config
    plan = ClipPlan(config.window.window, recipe.hop_for(config))
    found = find_videos(videos, fps=config.fps, min_frames=plan.num_frames)
    folder.prepare(source)
    networks = Pipeline.load(bundle, device=device, dtype=torch.float32).networks
    num_clips = sum(len(plan.starts(video.num_frames(config.fps))) for video in found)
    with tqdm(total=num_clips, desc="encoding clips") as bar:
        clips = cached_clips(networks, source, found, plan, folder.cache, bar.update)
    folder.claim(
        {
            "bundle": {file: entry.sha256 for file, entry in source.manifest.entries.items()},
            "videos": [str(clip.relative_to(folder.cache)) for clip in clips],
            "recipe": dataclasses.asdict(recipe),
            "seed": seed,
        }
    )
    log.info("%d clips from %d videos, training on %s", len(clips), len(found), device)
    finetuning = Finetuning(networks, config, recipe, seed)
    finetuning.train(clips, folder, on_step)
    adapter = finetuning.adapter()
    if adapter is not None:
        folder.publish_adapter(source, adapter, recipe.lora_alpha)
    folder.publish(source, finetuning.merged(source.tensors("dit")))
    log.info("the bundle is written to %s", folder.bundle)
    return folder


def _settings(file: Path | None, lora_rank: int | None, full: bool, steps: int | None) -> FinetuneRecipe:
    if full and lora_rank is not None:
        raise BadSetting("--full trains all weights, --lora-rank adapters; give one of them")
    recipe = FinetuneRecipe() if file is None else FinetuneRecipe.read(file)
    rank = 0 if full else lora_rank
    given = {"lora_rank": rank, "num_steps": steps}
    return dataclasses.replace(recipe, **{name: value for name, value in given.items() if value is not None})
