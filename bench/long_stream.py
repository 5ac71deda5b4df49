"""One long stream: whether colours wander, lips get worse or memory grows.

The same clips are spoken again and again in one session, so that the last turn can be compared with the first, word by
word. Knows sessions, clips and measures; knows no tables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from avacast.bench.held_out_clip import HeldOutClip
from avacast.engine import measures
from avacast.engine.colour_difference import ciede2000
from avacast.engine.config import SAMPLE_RATE_HZ
from avacast.engine.mouth import mouth_opening
from avacast.engine.profile import ProfileName

if TYPE_CHECKING:
    from avacast.engine.frame import Frame
    from avacast.engine.pipeline import Pipeline

NUM_DRIFT_FRAMES = 200
"""At either end of the stream, as many as the paper's comparison asks for."""


@dataclass(frozen=True)
class Turns:
    """What a long stream says: some clips, one after the other, and all of that several times."""

    clips: tuple[HeldOutClip, ...]
    num_turns: int

    @classmethod
    def lasting(cls, clips: Sequence[HeldOutClip], seconds: float) -> Turns:
        """About `seconds`, in whole turns: two or more of as many clips as fit, or one of the first clip."""
        chosen: list[HeldOutClip] = []
        for clip in clips:
            if not chosen or sum(one.num_frames for one in (*chosen, clip)) <= seconds / 2 * clip.fps:
                chosen.append(clip)
        turn = sum(clip.num_frames for clip in chosen)
        return cls(tuple(chosen), max(1, round(seconds * chosen[0].fps / turn)))

    @property
    def frames_per_turn(self) -> int:
        return sum(clip.num_frames for clip in self.clips)

    @property
    def num_frames(self) -> int:
        return self.num_turns * self.frames_per_turn

    def sound(self) -> NDArray[np.float32]:
        """`[N]` at 16 kHz; every clip lasts a whole number of frames."""
        lengths = [clip.num_frames * SAMPLE_RATE_HZ // clip.fps for clip in self.clips]
        turn = [_fitted(clip.samples, length) for clip, length in zip(self.clips, lengths, strict=True)]
        return np.tile(np.concatenate(turn), self.num_turns)


@dataclass(frozen=True)
class LongRun:
    """What a long stream showed."""

    minutes: float
    colour_drift: float
    """CIEDE2000 between its first and its last 200 frames; what is said and the head's motion add to it."""
    same_words_drift: float
    """The same between the first frames of the first and of the last turn; the head's motion adds to it. NaN where
    there is one turn."""
    next_turn_drift: float
    """The same between the first and the second turn: how much the head's motion adds."""
    early_lip_correlation: float
    """With the true opening, mean over the clips of the first turn."""
    late_lip_correlation: float
    """The same in the last turn."""
    early_memory_mb: float
    """Resident memory of the process after one minute, or a tenth of a shorter stream."""
    late_memory_mb: float
    """The same when the last turn begins: in it frames are kept for the lips."""


def long_run(
    pipeline: Pipeline,
    profile: ProfileName,
    turns: Turns,
    *,
    ahead_s: float = 0.0,
    on_frame: Callable[[], None] = lambda: None,
) -> LongRun:
    """The first clip's picture speaks all turns in one session; `on_frame` is called after each frame."""
    from avacast.bench.profile_run import frames_as_they_come

    config, first = pipeline.config, turns.clips[0]
    session = pipeline.open_session(first.portrait, seed=first.seed, profile=profile)
    stream = frames_as_they_come(session, turns.sound(), config.samples_per_frame, ahead_s=ahead_s)
    spans, lips = _Spans.of(turns), list[float]()
    memory_mb = dict.fromkeys((_minute(turns, config.fps), turns.num_frames - turns.frames_per_turn), float("nan"))
    for turn in range(turns.num_turns):
        scores: list[float] = []
        for clip in turns.clips:
            images: list[NDArray[np.uint8]] = []
            for frame in islice(stream, clip.num_frames):
                spans.add(frame)
                if turn in (0, turns.num_turns - 1):
                    images.append(frame.image)
                if frame.pts in memory_mb:
                    memory_mb[frame.pts] = resident_mb()
                on_frame()
            if images:
                scores.append(_lip_correlation(np.stack(images), clip, first))
        lips += [float(np.mean(scores))] if scores else []
    early_mb, late_mb = (memory_mb[pts] for pts in (min(memory_mb), max(memory_mb)))
    return LongRun(turns.num_frames / config.fps / 60, *spans.drifts(), lips[0], lips[-1], early_mb, late_mb)


class _Spans:
    """Mean frames of the stream's start, of its end, and of the starts of its last and its second turn."""

    def __init__(self, spans: Sequence[range], size: tuple[int, ...]) -> None:
        self._spans = spans
        self._sums = np.zeros((len(spans), *size))

    @classmethod
    def of(cls, turns: Turns) -> _Spans:
        num_frames = min(NUM_DRIFT_FRAMES, turns.frames_per_turn, turns.num_frames // 2)
        last_turn, next_turn = turns.num_frames - turns.frames_per_turn, turns.frames_per_turn % turns.num_frames
        starts = (0, turns.num_frames - num_frames, last_turn, next_turn)
        spans = [range(start, start + num_frames) for start in starts]
        return cls(spans, turns.clips[0].portrait.shape)

    def add(self, frame: Frame) -> None:
        for number, span in enumerate(self._spans):
            if frame.pts in span:
                self._sums[number] += frame.image

    def drifts(self) -> tuple[float, float, float]:
        """CIEDE2000 from the start to the end, and to the starts of the last and the second turn."""
        means = [measures.mean_colours(total[None] / len(self._spans[0])) for total in self._sums]
        to_end, *to_turns = (float(ciede2000(means[0], mean).mean()) for mean in means[1:])
        to_last, to_next = to_turns if self._spans[2].start else (float("nan"), float("nan"))
        return to_end, to_last, to_next


def resident_mb() -> float:
    """Memory that this process holds now; NaN where the system does not tell as Linux does."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    kilobytes = [float(line.split()[1]) for line in lines if line.startswith("VmRSS")]
    return kilobytes[0] * 1024 / 1e6 if kilobytes else float("nan")


def _lip_correlation(frames: measures.Frames, clip: HeldOutClip, face: HeldOutClip) -> float:
    """Of `frames` in which the picture of `face` speaks `clip`, with what that clip's mouth did."""
    assert clip.truth is not None, "clips are those with truth"
    opening = mouth_opening(frames, face.mouth_box)
    num_frames = min(len(opening), len(clip.truth.mouth_reading))
    return measures.correlation(opening[:num_frames], clip.truth.mouth_reading[:num_frames])


def _minute(turns: Turns, fps: int) -> int:
    return round(min(60 * fps, turns.num_frames / 10))


def _fitted(samples: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    return np.pad(samples[:length], (0, max(0, length - len(samples))))
