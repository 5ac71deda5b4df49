"""The figures of one held-out clip: which measure is read off which frames, sound and truth.

Knows clips and measures; knows no model, no targets and no tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
from numpy.typing import NDArray

from avacast.bench.held_out_clip import HeldOutClip, Truth
from avacast.engine import measures
from avacast.engine.config import SAMPLE_RATE_HZ, TEMPORAL_STRIDE, WindowConfig
from avacast.engine.mouth import mouth_opening

_PAUSE_FRAMES, _PAUSE_MARGIN_FRAMES = 5, 2
"""Pauses from 200 ms on; lips take up to 80 ms to close after the last sound, and open as early before the next."""
_CLOSURE_MARGIN_FRAMES = 1
_BILABIALS = "pbm"
_SILENT = 0.1
"""Loudness below which another voice is silent, of the envelope's 0..1."""
_WIDE_PERCENTILE = 95
_DRIFT_S = 1.0

NAN = float("nan")


@dataclass(frozen=True)
class Figures:
    """What is measured on one clip; NaN where the clip does not tell."""

    lip_correlation: float = NAN
    """With the true opening."""
    envelope_correlation: float = NAN
    """With the loudness: all there is where no truth is known. True mouths do not reach 1 in it."""
    lag_ms: float = NAN
    amplitude: float = NAN
    closed_in_pauses: float = NAN
    bilabials_closed: float = NAN
    background_ssim: float = NAN
    still_difference: float = NAN
    """Mean frame difference where nothing moves in truth, in levels."""
    window_joint: float = NAN
    latent_joint: float = NAN
    sharpness: float = NAN
    """Gradient energy of the face, of the true one's."""
    colour_drift: float = NAN


def figures_of(frames: measures.Frames, clip: HeldOutClip, window: WindowConfig) -> Figures:
    """All figures of rendered `frames` uint8 `[F, H, W, 3]`, which came in windows of `window`."""
    opening = mouth_opening(frames, clip.mouth_box)
    rest = float(mouth_opening(clip.portrait[None], clip.mouth_box)[0])
    difference = measures.frame_difference(frames)
    window_joints, latent_joints = joints(len(frames), window)
    common = Figures(
        window_joint=measures.joint_ratio(difference, window_joints),
        latent_joint=measures.joint_ratio(difference, latent_joints),
        colour_drift=measures.colour_drift(frames, round(_DRIFT_S * clip.fps)),
        envelope_correlation=measures.correlation(opening, _envelope(clip, len(opening))),
    )
    if clip.truth is None:
        return _merged(common, _mouth_by_loudness(opening, rest, clip))
    return _merged(common, _mouth_by_truth(opening, rest, clip, clip.truth), _pictures(frames, clip, clip.truth))


def figures_of_truth(clip: HeldOutClip, truth: Truth, window: WindowConfig) -> Figures:
    """The figures that the true frames themselves would get: the best that can be asked."""
    window_joints, latent_joints = joints(len(truth.mouth_reading), window)
    rest = float(mouth_opening(clip.portrait[None], clip.mouth_box)[0])
    measured = Figures(
        envelope_correlation=measures.correlation(truth.mouth_reading, _envelope(clip, len(truth.mouth_reading))),
        window_joint=measures.joint_ratio(truth.frame_difference, window_joints),
        latent_joint=measures.joint_ratio(truth.frame_difference, latent_joints),
        still_difference=truth.still_difference,
        sharpness=1.0,
        colour_drift=truth.colour_drift,
    )
    return _merged(measured, _mouth_by_truth(truth.mouth_reading, rest, clip, truth))


def joints(num_frames: int, window: WindowConfig) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First frames of what each window adds, and of each latent frame (the stream's first frame left out)."""
    latent = np.arange(1, num_frames, TEMPORAL_STRIDE)
    index = np.arange(1, len(latent) + 1)
    first = window.window - window.held_back
    return latent[(index >= first) & ((index - first) % window.hop == 0)], latent


def mean_of(rows: Sequence[Figures]) -> Figures:
    """The mean of each figure over the clips that tell it."""
    means: dict[str, float] = {}
    for field in fields(Figures):
        values = [value for row in rows if not np.isnan(value := getattr(row, field.name))]
        means[field.name] = float(np.mean(values)) if values else NAN
    return Figures(**means)


def _merged(*parts: Figures) -> Figures:
    known = {name: value for part in parts for name, value in asdict(part).items() if not np.isnan(value)}
    return Figures(**known)


def _mouth_by_truth(opening: measures.Track, rest: float, clip: HeldOutClip, truth: Truth) -> Figures:
    sync = measures.lip_sync(opening, truth.mouth_reading)
    limit = measures.closed_limit(rest, float(np.percentile(truth.mouth_reading, _WIDE_PERCENTILE)))
    return Figures(
        lip_correlation=sync.correlation,
        lag_ms=sync.best_lag_frames * 1000 / clip.fps,
        amplitude=sync.amplitude,
        closed_in_pauses=measures.closed_share(opening, _between_phonemes(clip), limit),
        bilabials_closed=measures.closures_share(opening, _bilabial_spans(clip), limit),
    )


def _mouth_by_loudness(opening: measures.Track, rest: float, clip: HeldOutClip) -> Figures:
    limit = measures.closed_limit(rest, float(np.percentile(opening, _WIDE_PERCENTILE)))
    quiet = measures.pauses(_envelope(clip, len(opening)) < _SILENT, _PAUSE_FRAMES, _PAUSE_MARGIN_FRAMES)
    return Figures(closed_in_pauses=measures.closed_share(opening, quiet, limit))


def _envelope(clip: HeldOutClip, num_frames: int) -> measures.Track:
    return measures.speech_envelope(clip.samples, SAMPLE_RATE_HZ // clip.fps, num_frames)


def _pictures(frames: measures.Frames, clip: HeldOutClip, truth: Truth) -> Figures:
    return Figures(
        background_ssim=measures.ssim(frames, clip.portrait, truth.still_cells),
        still_difference=float(measures.frame_difference(frames, truth.still_cells).mean()),
        sharpness=measures.gradient_energy(frames, truth.face_box) / truth.gradient_energy,
    )


def _between_phonemes(clip: HeldOutClip) -> measures.Mask:
    """Frames `[F]` in pauses of the speaker."""
    silent = np.ones(clip.num_frames, np.bool_)
    for phoneme in clip.phonemes:
        if phoneme.name:
            silent[int(phoneme.start_s * clip.fps) : int(np.ceil(phoneme.end_s * clip.fps))] = False
    return measures.pauses(silent, _PAUSE_FRAMES, _PAUSE_MARGIN_FRAMES)


def _bilabial_spans(clip: HeldOutClip) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    for phoneme in clip.phonemes:
        if phoneme.name[:1] in _BILABIALS and phoneme.name and phoneme.end_s * clip.fps < clip.num_frames:
            start = max(0, int(phoneme.start_s * clip.fps) - _CLOSURE_MARGIN_FRAMES)
            spans.append((start, int(phoneme.end_s * clip.fps) + 1 + _CLOSURE_MARGIN_FRAMES))
    return spans
