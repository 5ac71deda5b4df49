"""One stream through one profile: its frames as they come, how many passes of the network they took and how long.

What every benchmark of the streaming core does with a session. Knows sessions, held-out clips and measures; knows no
tables and no files.
"""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avacast.bench.clip_figures import joints
from avacast.bench.held_out_clip import HeldOutClip
from avacast.bench.measured_networks import TRANSFORMER, PartTimes, measured
from avacast.engine import measures
from avacast.engine.config import SAMPLE_RATE_HZ
from avacast.engine.errors import BadSetting
from avacast.engine.frame import Frame
from avacast.engine.latency import algorithmic_latency
from avacast.engine.mouth import mouth_opening
from avacast.engine.pipeline import Pipeline
from avacast.engine.profile import Profile
from avacast.engine.session import Session
from avacast.engine.windows import frames_of_latents

_LATENCY_PIECE = 80
"""Samples of one push where latency is measured: 5 ms."""


class PassTimes(PartTimes):
    """How often each part ran, and for how long."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: defaultdict[str, int] = defaultdict(int)

    @contextlib.contextmanager
    def __call__(self, part: str) -> Generator[None]:
        with super().__call__(part):
            yield
        self.calls[part] += 1


def frames_as_they_come(
    session: Session, sound: NDArray[np.float32], samples_per_frame: int, *, ahead_s: float = 0.0
) -> Iterator[Frame]:
    """Streams `sound`, float32 `[N]`, a video frame at a time, keeping `ahead_s` of it ahead of the frames."""
    ahead, num_pushed, num_shown = round(ahead_s * SAMPLE_RATE_HZ), 0, 0
    while not session.finished:
        if num_pushed < len(sound):
            stop = min(len(sound), max(num_pushed + samples_per_frame, num_shown * samples_per_frame + ahead))
            session.push(sound[num_pushed:stop])
            num_pushed = stop
            if num_pushed == len(sound):
                session.flush()
        frames = session.pull()
        num_shown += len(frames)
        yield from frames
    session.close()


@dataclass(frozen=True)
class ClipRun:
    """Held-out clips, each streamed through the same profile."""

    frames: tuple[measures.Frames, ...]
    """uint8 `[F, H, W, 3]` of each clip."""
    num_passes: int
    compute_s: float
    """From each opened session to its last frame; opening, which encodes the picture, is not counted."""


def stream_clips(
    pipeline: Pipeline,
    profile: Profile,
    clips: Sequence[HeldOutClip],
    *,
    ahead_s: float = 0.0,
    on_frame: Callable[[], None] = lambda: None,
) -> ClipRun:
    """Streams every clip with its own portrait and seed of motion; `on_frame` is called after each frame."""
    times, compute_s = PassTimes(), 0.0
    rendered: list[measures.Frames] = []
    with measured(pipeline, times) as timed:
        for clip in clips:
            session = timed.open_session(clip.portrait, seed=clip.seed, profile=profile)
            started = time.perf_counter()
            images: list[NDArray[np.uint8]] = []
            for frame in frames_as_they_come(session, clip.samples, pipeline.config.samples_per_frame, ahead_s=ahead_s):
                images.append(frame.image)
                on_frame()
            compute_s += time.perf_counter() - started
            rendered.append(np.stack(images))
    return ClipRun(tuple(rendered), times.calls[TRANSFORMER], compute_s)


def told_clips(pipeline: Pipeline, clips: Sequence[HeldOutClip]) -> list[HeldOutClip]:
    """Those that tell what the mouth really did, of espeak-ng's voices: how well people are heard is `bench quality`'s.

    Raises BadSetting where there are none, or of another size.
    """
    config = pipeline.config
    told = [clip for clip in clips if clip.truth is not None and not clip.recorded]
    if not told or any((config.height, config.width) != clip.portrait.shape[:2] for clip in told):
        raise BadSetting(
            f"no clips with truth are {config.width}x{config.height}; `avacast train held-out` writes them for pocket"
        )
    return told


def lip_correlation(run: ClipRun, clips: Sequence[HeldOutClip]) -> float:
    """With the true opening, mean over the clips."""
    scores: list[float] = []
    for frames, clip in zip(run.frames, clips, strict=True):
        assert clip.truth is not None, "clips are those with truth"
        true = clip.truth.mouth_reading
        opening = mouth_opening(frames[: len(true)], clip.mouth_box)
        scores.append(measures.correlation(opening, true[: len(opening)]))
    return float(np.mean(scores))


def seam_ratios(run: ClipRun, profile: Profile) -> tuple[float, float]:
    """Frame difference where a window's frames begin over elsewhere, and where any latent frame begins; 1 is no seam.

    Windows that bring one latent frame each begin wherever one does, so there both are the same.
    """
    ratios: list[tuple[float, float]] = []
    for frames in run.frames:
        difference = measures.frame_difference(frames)
        window, latent = joints(len(frames), profile.window)
        ratios.append((measures.joint_ratio(difference, window), measures.joint_ratio(difference, latent)))
    window_ratio, latent_ratio = np.nanmean(np.array(ratios), axis=0)
    return float(window_ratio), float(latent_ratio)


def formula_latency_ms(pipeline: Pipeline, profile: Profile) -> float:
    """Algorithmic latency by the formula."""
    return 1000 * algorithmic_latency(pipeline.config, profile) / SAMPLE_RATE_HZ


def measured_latency_ms(pipeline: Pipeline, profile: Profile, clip: HeldOutClip, max_s: float = 4.0) -> float:
    """Sound from the first sample that a frame shows to the last that had to come before it left: of all frames the
    most, but for those of the first window, which is longer than a hop. In steps of 5 ms, so up to 5 ms too much.
    """
    session = pipeline.open_session(clip.portrait, seed=clip.seed, profile=profile)
    step, sound = pipeline.config.samples_per_frame, clip.samples[: round(max_s * SAMPLE_RATE_HZ)]
    ahead = profile.num_windows_ahead if profile.patience == "wait" else 0
    first = frames_of_latents(profile.window.window + profile.window.hop * ahead)
    worst = 0
    for start in range(0, len(sound), _LATENCY_PIECE):
        session.push(sound[start : start + _LATENCY_PIECE])
        while frames := session.pull():
            worst = max([worst] + [start + _LATENCY_PIECE - step * frame.pts for frame in frames if frame.pts >= first])
    session.close()
    return 1000 * worst / SAMPLE_RATE_HZ
