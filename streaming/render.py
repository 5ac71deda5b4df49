"""`avacast render`: a picture and a sound file become an MP4.

It joins the three streams that exist already: blocks of sound go into a session and into the file's sound track, and
the session's frames go into the file as soon as they are final. Nothing here knows how any of them works, and only a
few blocks are in memory at any time.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import typer
from numpy.typing import NDArray

from avacast.engine.errors import BadSetting
from avacast.engine.profile import ProfileName
from avacast.streaming.audio_file import AudioFile, Sound, num_video_frames
from avacast.streaming.gallery import find_portrait
from avacast.streaming.model import (
    DeviceOption,
    ExportsOption,
    check_bundle,
    load_fastest,
    load_repeatable,
    set_threads,
)
from avacast.streaming.offline_render import (
    ALPHA,
    AUDIO_SCALE,
    BETA,
    TEXT_SCALE,
    GuidanceName,
    OfflineOptions,
    SizeName,
    render_offline,
)
from avacast.streaming.recorded_session import AnySession, RecordingFolder
from avacast.streaming.video_file import VideoFile, check_output

if TYPE_CHECKING:
    from avacast.engine.pipeline import Pipeline

ProfileOption = Annotated[
    ProfileName | None,
    typer.Option(
        help="How far windows look ahead. offline: as far as they can. tts: where sound is there. mic: not at all, as "
        "for a live microphone.",
        show_default="offline",
    ),
]
OutputOption = Annotated[Path, typer.Option("--output", "-o", help="The MP4 to write; an older one is replaced.")]
BundleOption = Annotated[
    Path | None, typer.Option(help="Folder of another model.", show_default="the embedded pocket model")
]
SeedOption = Annotated[int, typer.Option(min=0, help="Same seed, same video.")]
ThreadsOption = Annotated[int, typer.Option(min=0, max=256, help="CPU threads; 0 leaves the choice to PyTorch.")]

FILE_PROFILE: ProfileName = "offline"
"""A file is known whole: windows look ahead as far as they can, and it does not matter how its sound is cut. It takes
as many passes as `tts`, and holds a window or two more in memory."""


def render(
    portrait: Annotated[
        str, typer.Argument(metavar="PORTRAIT", help="A PNG, JPEG or WebP file, or a name from the gallery, like ada.")
    ],
    audio: Annotated[
        Path, typer.Argument(metavar="AUDIO", help="The voice: WAV, FLAC, MP3, Ogg or M4A, of any length.")
    ],
    output: OutputOption = Path("avacast.mp4"),
    bundle: BundleOption = None,
    seed: SeedOption = 0,
    threads: ThreadsOption = 0,
    device: DeviceOption = "auto",
    exports: ExportsOption = None,
    mode: Annotated[
        Literal["live", "offline"],
        typer.Option(help="live: as a session streams it. offline: over the whole video at once, resumable."),
    ] = "live",
    profile: ProfileOption = None,
    overlap_weights: Annotated[
        Literal["log", "uniform", "fixed"] | None, typer.Option(help="Offline: how windows are fused.")
    ] = None,
    guidance: Annotated[
        GuidanceName | None,
        typer.Option(help="Offline: how strongly conditions act.", show_default="cfg where the model reads text"),
    ] = None,
    text_scale: Annotated[float | None, typer.Option(help="Of cfg.", show_default=str(TEXT_SCALE))] = None,
    audio_scale: Annotated[float | None, typer.Option(help="Of cfg.", show_default=str(AUDIO_SCALE))] = None,
    alpha: Annotated[float | None, typer.Option(help="Of audio-native.", show_default=str(ALPHA))] = None,
    beta: Annotated[float | None, typer.Option(help="Of audio-native.", show_default=str(BETA))] = None,
    prompt: Annotated[str | None, typer.Option(help="Offline: what the video shows; needs --source.")] = None,
    source: Annotated[
        Path | None, typer.Option(help="Offline: the folder that the model was imported from, for its text encoder.")
    ] = None,
    size: Annotated[
        SizeName | None, typer.Option(help="Offline: width x height.", show_default="the model's own")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Offline: denoising steps.", show_default="the model's own")
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(help="Live: record the session in this folder, for `avacast replay`.", show_default="no"),
    ] = None,
) -> None:
    """Render a portrait that speaks a sound file, as an MP4 with sound.

    Examples:

        avacast render ada speech.wav

        avacast render drawing.png interview.mp3 --output interview.mp4

        avacast render ada speech.wav --mode offline --guidance audio-native --steps 8
    """
    options = OfflineOptions(
        overlap_weights, guidance, text_scale, audio_scale, alpha, beta, prompt, source, size, steps
    )
    if mode == "live" and options.given:
        raise BadSetting(f"{', '.join(options.given)} needs --mode offline; add it or leave that out")
    if mode == "offline" and record:
        raise BadSetting("--record is for live sessions; leave out --mode offline, or --record")
    if mode == "offline" and profile:
        raise BadSetting("--profile is for live sessions; leave out --mode offline, or --profile")
    check_output(output)
    check_bundle(bundle)
    picture = load_picture(portrait)
    sound = AudioFile.open(audio)
    if output.exists() and output.samefile(audio):
        raise BadSetting(f"{output} is also the sound that is read; choose another --output")
    recordings = RecordingFolder(record, bundle) if record else None
    if recordings:
        recordings.check()
    set_threads(threads)
    if mode == "offline" or recordings:  # which are made again, or gone on with, to the last bit
        pipeline = load_repeatable(bundle, device=device)
    else:
        pipeline = load_fastest(bundle, device=device, exports=exports)
    if mode == "offline":
        render_offline(pipeline, picture, sound, output, options, seed=seed)
    else:
        profile = profile or FILE_PROFILE
        render_video(pipeline, picture, sound, output, seed=seed, profile=profile, recordings=recordings)


def load_picture(portrait: str) -> NDArray[np.uint8]:
    """The picture that `portrait` names, uint8 [H, W, 3]. Raises BadPortrait."""
    from avacast.engine.portrait import load_portrait

    return load_portrait(find_portrait(portrait))


def render_video(
    pipeline: Pipeline,
    picture: NDArray[np.uint8],
    sound: Sound,
    output: Path,
    *,
    seed: int = 0,
    profile: ProfileName = FILE_PROFILE,
    recordings: RecordingFolder | None = None,
) -> None:
    """Renders with a progress bar on the terminal, and says at the end what was made and how fast."""
    config = pipeline.config
    num_frames = num_video_frames(sound.num_engine_samples, config.samples_per_frame)
    started = time.monotonic()
    with progress_bar(output.name, num_frames, config.fps) as advance:
        write_video(
            pipeline, picture, sound, output, seed=seed, profile=profile, on_frame=advance, recordings=recordings
        )
    elapsed_s, media_s = time.monotonic() - started, num_frames / config.fps
    typer.echo(f"{output}: {media_s:.1f} s of video in {elapsed_s:.1f} s (real-time factor {elapsed_s / media_s:.2f})")
    if recordings:
        typer.echo(f"{recordings.path}: its recording; `avacast replay` makes it again")


def write_video(
    pipeline: Pipeline,
    picture: NDArray[np.uint8],
    sound: Sound,
    output: Path,
    *,
    seed: int = 0,
    profile: ProfileName = FILE_PROFILE,
    on_frame: Callable[[], None] = lambda: None,
    recordings: RecordingFolder | None = None,
) -> None:
    """Renders `picture` (uint8 [H, W, 3]) speaking `sound` to the MP4 `output`; nothing is left there on an error.

    `on_frame` is called after each frame; with `recordings` the session is recorded there. Raises what the pipeline,
    the sound and the files raise.
    """
    config = pipeline.config
    session: AnySession = pipeline.open_session(picture, seed=seed, profile=profile)
    if recordings:
        session = recordings.begin(session, pipeline, picture, seed, output.stem)
    video = VideoFile.of(output, config, sound.heard_rate_hz, sound.num_channels)
    with contextlib.closing(session), video as file:
        for block in sound.blocks():
            session.push(block.engine)
            file.write_sound(block.heard)
            _write_ready_frames(session, file, on_frame)
        session.flush()
        _write_ready_frames(session, file, on_frame)
        assert session.finished, "a flushed session runs out"


def _write_ready_frames(session: AnySession, file: VideoFile, on_frame: Callable[[], None]) -> None:
    while frames := session.pull():
        for frame in frames:
            file.write_frame(frame.image)
            on_frame()


@contextlib.contextmanager
def progress_bar(name: str, num_frames: int, fps: int) -> Generator[Callable[[], None]]:
    """A bar on standard error with time left and real-time factor; yields what to call after each frame."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("real-time factor {task.fields[factor]}"),
    )
    started = time.monotonic()
    done = 0
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(name, total=num_frames, factor="-")

        def advance() -> None:
            nonlocal done
            done += 1
            factor = (time.monotonic() - started) * fps / done
            progress.update(task, advance=1, factor=f"{factor:.2f}")

        yield advance
