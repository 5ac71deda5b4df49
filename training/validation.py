"""How well a model speaks, measured through the engine's own door on people, voices and words it never met.

A short look during training; `avacast bench quality` judges the finished model. Opening is read off the generated
frames and off the true ones alike, so that what the reading misses counts on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avacast.engine.measures import LipSync, lip_sync
from avacast.engine.mouth import mouth_opening
from avacast.engine.pipeline import Pipeline
from avacast.training.clips import VALIDATION_SEED, Clip, make_clip
from avacast.training.face_renderer import mouth_box
from avacast.training.png_file import write_png

NUM_FRAMES = 73
FIRST_SEED = VALIDATION_SEED + 100
_SHOWN = slice(20, 68, 6)
"""Frames of each clip in the preview."""


@dataclass(frozen=True)
class _Compared:
    """One clip, true and generated, uint8 `[F, H, W, 3]`."""

    true: NDArray[np.uint8]
    generated: NDArray[np.uint8]
    sync: LipSync

    @property
    def squared_error(self) -> float:
        return float(np.mean((self.generated.astype(np.float32) - self.true) ** 2))

    def strips(self) -> list[NDArray[np.uint8]]:
        """True frames in a row, and the generated ones in another."""
        return [np.concatenate(list(frames[_SHOWN]), axis=1) for frames in (self.true, self.generated)]


def validate(pipeline: Pipeline, preview: Path, num_clips: int = 6) -> str:
    """One line of figures over `num_clips` clips, and a picture of true (above) and generated (below) frames."""
    fps = pipeline.config.fps
    compared = [_compare(pipeline, make_clip(FIRST_SEED + index, NUM_FRAMES, fps)) for index in range(num_clips)]
    write_png(preview, np.concatenate([strip for one in compared for strip in one.strips()]))
    correlations = [one.sync.correlation for one in compared]
    return (
        f"lip correlation {np.mean(correlations):.3f} (worst {min(correlations):.3f}), "
        f"lags {[one.sync.best_lag_frames for one in compared]}, "
        f"amplitude {np.mean([one.sync.amplitude for one in compared]):.2f}, "
        f"{_psnr_db(float(np.mean([one.squared_error for one in compared]))):.2f} dB"
    )


def _compare(pipeline: Pipeline, clip: Clip) -> _Compared:
    size = pipeline.config.height
    true = clip.render(size).frames.numpy()
    generated = _generate(pipeline, clip, size)
    box = mouth_box(clip.identity, size)
    return _Compared(true, generated, lip_sync(mouth_opening(generated, box), mouth_opening(true, box)))


def _generate(pipeline: Pipeline, clip: Clip, size: int) -> NDArray[np.uint8]:
    session = pipeline.open_session(clip.render_portrait(size).numpy(), seed=clip.motion_seed)
    session.push(clip.track.samples)
    session.flush()
    images: list[NDArray[np.uint8]] = []
    while not session.finished:
        images += [frame.image for frame in session.pull()]
    return np.stack(images)


def _psnr_db(squared_error: float) -> float:
    return 10 * float(np.log10(255.0**2 / max(squared_error, 1e-9)))
