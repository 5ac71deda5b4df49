"""Whether anything is to be seen when the avatar begins to speak, ends, is interrupted, or begins to idle.

The worker's own loop runs in this process, without a clock, a network or an encoder, and the frames that would be shown
are compared with the one before. Knows the worker's messages; knows nothing of how frames are made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from avacast.engine import measures

if TYPE_CHECKING:
    from avacast.engine.pipeline import Pipeline
    from avacast.streaming.messages import Event

DELAY = 16
"""Slices between what the engine hears and what the viewer sees, about as live."""

NUM_ON_THE_WAY = 2
"""Slots that pass after an interruption before the frames made anew are there (80 ms, a window of work)."""

WINDOW = 12
"""Frames after a transition (half a second) in which it may show: a window's fusion is over by then."""

SPEAK, FALL_SILENT, BEGIN_TO_IDLE, INTERRUPT = "speak", "fall silent", "begin to idle", "interrupt"
PAUSE_SLICES = 100
IDLE_SLICES = 50
"""Silence after which the worker idles (`lane`)."""


@dataclass(frozen=True)
class Script:
    """What is said, float32 [S, samples_per_frame], where speech is, and what happens: slice numbers by kind."""

    slices: NDArray[np.float32]
    speaking: NDArray[np.bool_]
    happens: tuple[tuple[int, str], ...]


def write_script(sentences: Sequence[NDArray[np.float32]], samples_per_frame: int) -> Script:
    """Every sentence, float32 [N] at 16 kHz, is said after 4 s of silence; every second one is interrupted half-way."""
    slices: list[NDArray[np.float32]] = []
    speaking: list[NDArray[np.bool_]] = []
    happens: list[tuple[int, str]] = []
    silence = np.zeros((PAUSE_SLICES, samples_per_frame), np.float32)
    now = 0
    for index, sentence in enumerate([*sentences, np.zeros(0, np.float32)]):
        slices.append(silence)
        speaking.append(np.zeros(PAUSE_SLICES, np.bool_))
        happens.append((now + IDLE_SLICES, BEGIN_TO_IDLE))
        now += PAUSE_SLICES
        said = sentence[: len(sentence) // samples_per_frame * samples_per_frame].reshape(-1, samples_per_frame)
        if not len(said):
            break
        happens.append((now, SPEAK))
        said = said[: len(said) // 2] if index % 2 else said
        slices.append(said)
        # What is cut while it is still on its way to the viewer was never speech to be seen.
        speaking.append(np.arange(len(said)) < len(said) - DELAY * (index % 2))
        now += len(said)
        happens.append((now, INTERRUPT if index % 2 else FALL_SILENT))
    return Script(np.concatenate(slices), np.concatenate(speaking), tuple(happens))


def shown_frames(
    pipeline: Pipeline, picture: NDArray[np.uint8], script: Script, on_slice: Callable[[], None]
) -> NDArray[np.uint8]:
    """Frames uint8 [S, H, W, 3] as a viewer sees them who is `DELAY` slices behind; a missing one is a repeated one."""
    from avacast.streaming.live_session import MAX_STALE_SLOTS
    from avacast.streaming.messages import Audio, Cut, Frames, Open
    from avacast.streaming.worker_process import EngineLoop

    config = pipeline.config
    made: dict[int, NDArray[np.uint8]] = {}
    fixed = 0

    def post(event: Event) -> bool:
        if isinstance(event, Frames):
            made.update((n, image) for n, image in zip(event.numbers, event.images, strict=True) if n >= fixed)
        return True

    engine = EngineLoop(pipeline, post)
    engine.handle(Open("s", picture, 0))
    shown = np.zeros((len(script.slices), config.height, config.width, 3), np.uint8)
    cuts = {number for number, kind in script.happens if kind == INTERRUPT}
    for number in range(len(script.slices) + DELAY):
        position = max(0, number - DELAY)
        if number in cuts:
            fixed = position + NUM_ON_THE_WAY
            engine.handle(Cut("s", 1, position + MAX_STALE_SLOTS))
        samples = script.slices[number] if number < len(script.slices) else np.zeros_like(script.slices[0])
        engine.handle(Audio("s", number, samples, position))
        while engine.step():
            pass
        if number >= DELAY:
            shown[position] = made.pop(position, shown[max(0, position - 1)])
        on_slice()
    return shown


def transition_ratios(frames: NDArray[np.uint8], script: Script) -> dict[str, list[float]]:
    """By kind of transition: the greatest frame difference within `WINDOW`, over that which 95 % of speech keep."""
    difference = measures.frame_difference(frames)
    speech = float(np.percentile(difference[script.speaking[1:]], 95))
    ratios: dict[str, list[float]] = {}
    for number, kind in script.happens:
        # An interruption shows at once; everything else shows with the slice that it is about.
        first = number - DELAY if kind == INTERRUPT else number
        window = difference[max(0, first - 1) : first + WINDOW]
        ratios.setdefault(kind, []).append(float(window.max()) / speech)
    return ratios
