"""`avacast bench ablation`: the paper's comparison on our own model, every fusion beside every guidance.

One long video for each of the nine, by the offline loop, from the held-out voices one after another. Knows what is
compared and the table; reports and judges nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import numpy as np
import typer
from numpy.typing import NDArray

from avacast.bench.held_out_clip import HELD_OUT, HeldOutClip, read_held_out
from avacast.bench.model import BundleOption, JsonOption, RandomWeightsOption, ThreadsOption, open_model
from avacast.bench.result import Result
from avacast.engine import measures
from avacast.engine.config import TEMPORAL_STRIDE
from avacast.engine.errors import BadSetting
from avacast.engine.mouth import mouth_opening
from avacast.engine.profile import WindowConfig

if TYPE_CHECKING:
    from rich.table import Table

    from avacast.engine.guidance import Guidance
    from avacast.engine.pipeline import Pipeline

Weights: TypeAlias = Literal["fixed", "uniform", "log"]
NUM_DRIFT_FRAMES = 200
"""At either end of the video, as many as the comparison asks for."""
_STILL_EVERY = 25
"""Of the frames compared with the picture: one a second is enough, and all would not fit in memory."""


@dataclass(frozen=True)
class Row:
    """One of the nine videos."""

    weights: str
    guidance: str
    seam_ratio: float
    """Frame difference where an overlap begins or ends, over elsewhere; 1 shows no seam."""
    colour_drift: float
    """CIEDE2000 between the first and the last 200 frames."""
    lip_correlation: float
    """With the true opening, mean over the voices."""
    background_ssim: float
    """With the picture, where nothing moves in truth."""
    background_difference: float
    """Mean frame difference there, in levels."""


def ablation(
    bundle: BundleOption = None,
    clips: Annotated[Path, typer.Option(help="Folder of held-out clips.", show_default="the shipped ones")] = HELD_OUT,
    minutes: Annotated[float, typer.Option(min=0.01, help="Length of each of the nine videos.")] = 2.0,
    audio_scale: Annotated[float, typer.Option(help="Of cfg.")] = 2.0,
    alpha: Annotated[float, typer.Option(help="Of audio-native.")] = 0.5,
    beta: Annotated[float, typer.Option(help="Of audio-native.")] = 0.5,
    json_file: JsonOption = None,
    random_weights: RandomWeightsOption = False,
    threads: ThreadsOption = 0,
) -> None:
    """Compare fixed, uniform and log fusion with no, classifier-free and audio-native guidance.

    Prints a table, and the result as one line of JSON at the end.
    """
    from rich.console import Console
    from rich.progress import track

    from avacast.engine.guidance import Guidance

    pipeline = open_model(bundle, random_weights=random_weights, threads=threads)
    if pipeline.config.prompts is not None:
        raise BadSetting(f"model {pipeline.config.name} reads text, which is not compared here; use the pocket model")
    told = [clip for clip in read_held_out(clips) if clip.truth is not None]
    guidances = {
        "none": Guidance.none(),
        "cfg": Guidance.cfg(audio_scale, 1, has_text=False),
        "audio-native": Guidance.audio_native(alpha, beta),
    }
    fusions: tuple[Weights, ...] = ("fixed", "uniform", "log")
    cases: list[tuple[Weights, str]] = [(weights, name) for weights in fusions for name in guidances]
    rows = [
        measure(pipeline, told, weights, name, guidances[name], minutes)
        for weights, name in track(cases, "rendering", console=Console(stderr=True))
    ]
    Console().print(ablation_table(rows))
    scales = {"audio_scale": audio_scale, "alpha": alpha, "beta": beta}
    figures = {"model": pipeline.describe(), "minutes": minutes, **scales, "rows": [asdict(row) for row in rows]}
    result = Result.of("ablation", figures)
    if json_file is not None:
        result.save(json_file)
    print(result.to_json())


def measure(
    pipeline: Pipeline,
    clips: Sequence[HeldOutClip],
    weights: Weights,
    name: str,
    guidance: Guidance,
    minutes: float,
) -> Row:
    """Renders the first clip's picture speaking all clips in turn, as often as `minutes` needs, and reads the figures.

    Raises BadSetting when no clip tells the truth, or the model's size is another.
    """
    config = replace(pipeline.config, window=replace(pipeline.config.window, weights=weights))
    if not clips or (config.height, config.width) != clips[0].portrait.shape[:2]:
        raise BadSetting(f"no clip with truth is {config.width}x{config.height}; `avacast train held-out` writes them")
    num_clips = max(1, round(minutes * 60 * config.fps / clips[0].num_frames))
    spoken = [clips[i % len(clips)] for i in range(num_clips)]
    frames = render(replace_config(pipeline, config.window), spoken, guidance)
    truth = spoken[0].truth
    assert truth is not None, "clips are those with truth"
    seams = overlap_edges(len(frames), config.window)
    sample = frames[::_STILL_EVERY]
    return Row(
        weights=weights,
        guidance=name,
        seam_ratio=measures.joint_ratio(measures.frame_difference(frames), seams),
        colour_drift=measures.colour_drift(frames, min(NUM_DRIFT_FRAMES, len(frames) // 2)),
        lip_correlation=lip_correlation(frames, spoken),
        background_ssim=measures.ssim(sample, spoken[0].portrait, truth.still_cells),
        background_difference=float(measures.frame_difference(frames, truth.still_cells).mean()),
    )


def replace_config(pipeline: Pipeline, window: WindowConfig) -> Pipeline:
    """The same networks with another window."""
    from avacast.engine.pipeline import Pipeline

    return Pipeline(replace(pipeline.config, window=window), pipeline.networks)


def render(pipeline: Pipeline, spoken: Sequence[HeldOutClip], guidance: Guidance) -> measures.Frames:
    """Frames uint8 `[F, H, W, 3]` of the first clip's picture speaking all of them."""
    from avacast.engine.whole_video import WholeVideo

    samples = np.concatenate([clip.samples for clip in spoken])
    video = WholeVideo(pipeline, spoken[0].portrait, samples, guidance, seed=spoken[0].seed)
    latents = video.noise()
    for step in range(video.num_steps):
        latents = video.denoise(latents, step)
    frames = np.empty((video.num_frames, *spoken[0].portrait.shape), np.uint8)
    for number, image in enumerate(video.frames(latents)):
        frames[number] = image
    return frames


def overlap_edges(num_frames: int, window: WindowConfig) -> NDArray[np.int64]:
    """First frames of the latent frames at which an overlap of two windows begins, or ends."""
    num_latents = 1 + (num_frames - 1) // TEMPORAL_STRIDE
    starts = np.arange(window.hop, num_latents, window.hop)
    latents = np.unique(np.concatenate([starts, starts + window.overlap]))
    return TEMPORAL_STRIDE * latents[latents < num_latents] - (TEMPORAL_STRIDE - 1)


def lip_correlation(frames: measures.Frames, spoken: Sequence[HeldOutClip]) -> float:
    """Mean over the clips of the correlation with their true opening, which another face shows just as well."""
    scores: list[float] = []
    first = 0
    for clip in spoken:
        assert clip.truth is not None, "clips are those with truth"
        true = clip.truth.mouth_reading
        opening = mouth_opening(frames[first : first + len(true)], spoken[0].mouth_box)
        scores.append(measures.correlation(opening, true[: len(opening)]))
        first += clip.num_frames
    return float(np.mean(scores))


def ablation_table(rows: Sequence[Row]) -> Table:
    """A line for each video."""
    from rich.table import Table

    names = ("seam_ratio", "colour_drift", "lip_correlation", "background_ssim", "background_difference")
    table = Table("weights", "guidance", *(name.replace("_", " ") for name in names))
    for row in rows:
        table.add_row(row.weights, row.guidance, *(f"{getattr(row, name):.3f}" for name in names))
    return table
