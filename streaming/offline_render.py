"""`avacast render --mode offline`: the whole-video loop of the paper, with guidance, resumable.

It turns the command's options into the engine's settings, keeps the state file beside the output, and writes the video
when the latents are done. How they are made is the engine's `whole_video`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import typer
from numpy.typing import NDArray

from avacast.engine.errors import BadSetting
from avacast.streaming.audio_file import Sound
from avacast.streaming.video_file import VideoFile

if TYPE_CHECKING:
    from torch import Tensor

    from avacast.engine.guidance import Guidance
    from avacast.engine.pipeline import Pipeline
    from avacast.engine.released_model import ReleasedModel
    from avacast.engine.saved_state import SavedState
    from avacast.engine.whole_video import WholeVideo

GuidanceName: TypeAlias = Literal["cfg", "audio-native", "none"]
SizeName: TypeAlias = Literal["512x512", "480x832", "832x480"]

SCALES: dict[GuidanceName, tuple[str, ...]] = {
    "none": (),
    "cfg": ("audio_scale", "text_scale"),
    "audio-native": ("alpha", "beta"),
}
"""Which scales each kind of guidance has."""

AUDIO_SCALE, TEXT_SCALE, ALPHA, BETA = 5.0, 3.0, 1.0, 1.0
"""Where the user gives none. The first two as in the released examples; the paper names none for the others."""


@dataclass(frozen=True)
class OfflineOptions:
    """What the user asked of an offline rendering; None where nothing was said."""

    overlap_weights: Literal["log", "uniform", "fixed"] | None = None
    guidance: GuidanceName | None = None
    text_scale: float | None = None
    audio_scale: float | None = None
    alpha: float | None = None
    beta: float | None = None
    prompt: str | None = None
    source: Path | None = None
    """The release that the model was imported from: its text encoder reads the prompt."""
    size: SizeName | None = None
    steps: int | None = None

    @property
    def given(self) -> list[str]:
        """The options that were given, as they are typed."""
        return [f"--{field.name.replace('_', '-')}" for field in fields(self) if getattr(self, field.name) is not None]

    def guidance_for(self, *, reads_text: bool) -> Guidance:
        """The guidance asked for. Raises BadSetting for a scale that it does not have or the model cannot follow."""
        from avacast.engine.guidance import Guidance

        kind: GuidanceName = self.guidance or ("cfg" if reads_text else "none")
        for name in ("text_scale", "audio_scale", "alpha", "beta"):
            if getattr(self, name) is not None and name not in SCALES[kind]:
                raise BadSetting(f"--{name.replace('_', '-')} means nothing to --guidance {kind}; leave it out")
        if self.text_scale is not None and not reads_text:
            raise BadSetting("this model reads no text, so there is nothing for --text-scale to guide; leave it out")
        if kind == "cfg":
            audio_scale, text_scale = _or(self.audio_scale, AUDIO_SCALE), _or(self.text_scale, TEXT_SCALE)
            return Guidance.cfg(audio_scale, text_scale, has_text=reads_text)
        if kind == "audio-native":
            return Guidance.audio_native(_or(self.alpha, ALPHA), _or(self.beta, BETA))
        return Guidance.none()

    def applied_to(self, pipeline: Pipeline) -> Pipeline:
        """The same networks with the window, steps and size asked for. Raises BadSetting where they do not go."""
        from avacast.engine.pipeline import Pipeline

        config = pipeline.config
        if self.overlap_weights is not None:
            config = replace(config, window=replace(config.window, weights=self.overlap_weights))
        if self.steps is not None:
            config = replace(config, sampler=replace(config.sampler, num_steps=self.steps))
        if self.size is not None:
            width, height = map(int, self.size.split("x"))
            config = replace(config, width=width, height=height)
            _, patch_height, patch_width = config.dit.patch_size
            if config.latent_size[0] % patch_height or config.latent_size[1] % patch_width:
                raise BadSetting(
                    f"model {config.name} cannot be cut into patches at {self.size}; choose another --size"
                )
        return Pipeline(config, pipeline.networks)


def with_prompt(pipeline: Pipeline, options: OfflineOptions, released: ReleasedModel | None = None) -> Pipeline:
    """The pipeline with `options.prompt` in place of the model's own. Raises BadSetting, or BadBundle for the source.

    `released` describes what the source must hold; the real release where it is None.
    """
    if options.prompt is None:
        return pipeline
    from avacast.engine.importer import encode_with
    from avacast.engine.pipeline import Pipeline
    from avacast.engine.released_model import ReleasedModel
    from avacast.engine.text_states import TextStates

    config, networks = pipeline.config, pipeline.networks
    if config.prompts is None:
        raise BadSetting(f"model {config.name} reads no text; leave out --prompt")
    if options.source is None:
        raise BadSetting(
            "--prompt needs the text encoder, which no bundle holds; name the folder that the model was imported from "
            "with --source"
        )
    prompts = {"positive": options.prompt, "negative": config.prompts.negative}
    states = encode_with(options.source, released or ReleasedModel.stableavatar(), prompts)
    text = TextStates.from_tensors(states, config.dit).to(networks.device, networks.dtype)
    return Pipeline(config, replace(networks, text=text))


def render_offline(
    pipeline: Pipeline, picture: NDArray[np.uint8], sound: Sound, output: Path, options: OfflineOptions, *, seed: int
) -> None:
    """Renders with a progress bar; interrupted, the same command goes on after the last whole step.

    Raises what the options, the engine and the files raise.
    """
    from avacast.engine.saved_state import SavedState
    from avacast.engine.whole_video import WholeVideo

    guidance = options.guidance_for(reads_text=pipeline.config.prompts is not None)
    pipeline = with_prompt(options.applied_to(pipeline), options)
    samples = np.concatenate([block.engine for block in sound.blocks()])
    video = WholeVideo(pipeline, picture, samples, guidance, seed=seed)
    state = SavedState(state_path(output), video.fingerprint)
    write_whole_video(video, sound, output, state)
    typer.echo(f"{output}: {video.num_frames / pipeline.config.fps:.1f} s of video, {video.num_steps} steps")


def state_path(output: Path) -> Path:
    """Where the state of an unfinished rendering lies."""
    return output.with_name(f"{output.stem}.unfinished.safetensors")


def write_whole_video(video: WholeVideo, sound: Sound, output: Path, state: SavedState) -> None:
    """Denoises from where `state` stands, saving after each step, writes the MP4 and removes the state."""
    steps_done, latents = state.load() or (0, video.noise())
    latents = latents.to(video.pipeline.networks.device)
    with _progress_bar(output.name, video, steps_done) as (window_done, frame_done):
        for step in range(steps_done, video.num_steps):
            latents = video.denoise(latents, step, window_done)
            state.save(step + 1, latents)
        _write(video, sound, output, latents, frame_done)
    state.remove()


def _write(video: WholeVideo, sound: Sound, output: Path, latents: Tensor, frame_done: Callable[[], None]) -> None:
    config = video.pipeline.config
    blocks, num_heard = sound.blocks(), 0
    with VideoFile.of(output, config, sound.heard_rate_hz, sound.num_channels) as file:
        for number, image in enumerate(video.frames(latents), start=1):
            # Sound goes in as far as the pictures have come, so that neither waits in memory for the other.
            while num_heard < number * config.samples_per_frame and (block := next(blocks, None)) is not None:
                file.write_sound(block.heard)
                num_heard += len(block.engine)
            file.write_frame(image)
            frame_done()
        for block in blocks:
            file.write_sound(block.heard)


@contextlib.contextmanager
def _progress_bar(
    name: str, video: WholeVideo, steps_done: int
) -> Generator[tuple[Callable[[], None], Callable[[], None]]]:
    """Bars for denoising and for decoding on standard error; yields what to call after each window and each frame."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        total, done = video.num_steps * video.num_windows, steps_done * video.num_windows
        denoising = progress.add_task(f"{name}, {video.num_steps} steps", total=total, completed=done)
        decoding = progress.add_task("frames", total=video.num_frames)
        yield lambda: progress.advance(denoising), lambda: progress.advance(decoding)


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
