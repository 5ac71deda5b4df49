"""The figures of one held-out clip: which measure is read off which frames, sound and truth.

Knows clips and measures; knows no model, no targets and no tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avacast.bench.held_out_clip import HeldOutClip, Truth
from avacast.engine import measures
from avacast.engine.config import SAMPLE_RATE_HZ, TEMPORAL_STRIDE
from avacast.engine.eyes import eye_opening
from avacast.engine.face_reading import FaceReading, read_face
from avacast.engine.mouth import mouth_opening
from avacast.engine.profile import WindowConfig

_PAUSE_FRAMES, _PAUSE_MARGIN_FRAMES = 5, 2
"""Pauses from 200 ms on; lips take up to 80 ms to close after the last sound, and open as early before the next."""
_CLOSURE_MARGIN_FRAMES = 1
_BILABIALS = "pbm"
_ROUNDED, _SPREAD = "ouʊw", "ieɪᵻ"
_MARKS = "ˈˌː"
_TEETH_SEEN = 1 / 2000
"""Area, of the frame's, from which teeth are seen: 32 pixels at 256x256."""
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
    """With the loudness. True mouths are far from 1 in it."""
    lag_ms: float = NAN
    amplitude: float = NAN
    closed_in_pauses: float = NAN
    bilabials_closed: float = NAN
    rounded_width: float = NAN
    """Width of the mouth at rounded vowels, of that at spread ones."""
    teeth_shown: float = NAN
    """Share of the frames with teeth in truth in which there are some."""
    rest_jitter: float = NAN
    """Mean change of the opening from frame to frame inside pauses, of the wide-open mouth."""
    blinks_per_minute: float = NAN
    blink_correlation: float = NAN
    """Of the eyes' opening with the true one."""
    head_motion: float = NAN
    """Correlation of the head's way to either side with the true one."""
    background_ssim: float = NAN
    colour_error: float = NAN
    """CIEDE2000 of mean frame and true mean frame, 90th percentile over the cells."""
    still_difference: float = NAN
    """Mean frame difference where nothing moves in truth, in levels."""
    window_joint: float = NAN
    latent_joint: float = NAN
    sharpness: float = NAN
    """Gradient energy of the face, of the true one's."""
    colour_drift: float = NAN


def figures_of(frames: measures.Frames, clip: HeldOutClip, window: WindowConfig) -> Figures:
    """All figures of rendered `frames` uint8 `[F, H, W, 3]`, which came in windows of `window`."""
    read = _of_reading(read_face(frames, clip.portrait, clip.boxes), clip, window)
    drift = Figures(colour_drift=measures.colour_drift(frames, round(_DRIFT_S * clip.fps)))
    return _merged(read, drift) if clip.truth is None else _merged(read, drift, _pictures(frames, clip, clip.truth))


def figures_of_truth(clip: HeldOutClip, truth: Truth, window: WindowConfig) -> Figures:
    """The figures that the true frames themselves would get: the best that can be asked."""
    stored = Figures(
        still_difference=truth.still_difference,
        sharpness=1.0,
        colour_error=0.0,
        colour_drift=truth.colour_drift,
    )
    return _merged(stored, _of_reading(truth.reading, clip, window))


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


def _of_reading(reading: FaceReading, clip: HeldOutClip, window: WindowConfig) -> Figures:
    """What can be told from the reading of each frame, by the truth where there is one."""
    num_frames = len(reading.opening)
    window_joints, latent_joints = joints(num_frames, window)
    eyes_open = float(eye_opening(clip.portrait[None], clip.boxes.eyes)[0])
    num_blinks = measures.num_blinks(reading.eyes, limit=(eyes_open + clip.eyes_closed) / 2)
    envelope = _envelope(clip, num_frames)
    common = Figures(
        envelope_correlation=measures.correlation(reading.opening, envelope),
        blinks_per_minute=num_blinks * 60 * clip.fps / num_frames,
        window_joint=measures.joint_ratio(reading.frame_difference, window_joints),
        latent_joint=measures.joint_ratio(reading.frame_difference, latent_joints),
    )
    if clip.truth is None:
        quiet = measures.pauses(envelope < _SILENT, _PAUSE_FRAMES, _PAUSE_MARGIN_FRAMES)
        return _merged(common, _at_rest(reading.opening, reading.opening, quiet, clip))
    true = clip.truth.reading
    rest = _at_rest(reading.opening, true.opening, _between_phonemes(clip), clip)
    return _merged(common, rest, _mouth(reading, true, clip), _head(reading, true))


def _at_rest(opening: measures.Track, like: measures.Track, pauses: measures.Mask, clip: HeldOutClip) -> Figures:
    """Whether the mouth is closed and still in `pauses`, where wide open is what it is in the track `like`."""
    wide = float(np.percentile(like, _WIDE_PERCENTILE))
    return Figures(
        closed_in_pauses=measures.closed_share(opening, pauses, _closed_limit(like, clip)),
        rest_jitter=measures.jitter(opening, pauses) / wide if wide > 0 else NAN,
    )


def _mouth(reading: FaceReading, true: FaceReading, clip: HeldOutClip) -> Figures:
    sync = measures.lip_sync(reading.opening, true.opening)
    limit = _closed_limit(true.opening, clip)
    # The corners of a closed mouth are not to be seen.
    opened = reading.opening > limit
    rounded, spread = (_mean(reading.width, opened & vowel_frames(clip, letters)) for letters in (_ROUNDED, _SPREAD))
    return Figures(
        lip_correlation=sync.correlation,
        lag_ms=sync.best_lag_frames * 1000 / clip.fps,
        amplitude=sync.amplitude,
        bilabials_closed=measures.closures_share(reading.opening, _bilabial_spans(clip), limit),
        rounded_width=rounded / spread,
        teeth_shown=_mean(reading.teeth > _TEETH_SEEN, true.teeth > _TEETH_SEEN),
    )


def _head(reading: FaceReading, true: FaceReading) -> Figures:
    return Figures(
        blink_correlation=measures.correlation(reading.eyes, true.eyes),
        head_motion=measures.correlation(reading.sideways, true.sideways),
    )


def _closed_limit(like: measures.Track, clip: HeldOutClip) -> float:
    rest = float(mouth_opening(clip.portrait[None], clip.boxes.mouth)[0])
    return measures.closed_limit(rest, float(np.percentile(like, _WIDE_PERCENTILE)))


def _mean(track: NDArray[Any], where: measures.Mask) -> float:
    return float(track[where].mean()) if where.any() else NAN


def _envelope(clip: HeldOutClip, num_frames: int) -> measures.Track:
    return measures.speech_envelope(clip.samples, SAMPLE_RATE_HZ // clip.fps, num_frames)


def _pictures(frames: measures.Frames, clip: HeldOutClip, truth: Truth) -> Figures:
    return Figures(
        background_ssim=measures.ssim(frames, clip.portrait, truth.still_cells),
        colour_error=measures.colour_error(measures.mean_colours(frames), truth.colours),
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


def vowel_frames(clip: HeldOutClip, letters: str) -> measures.Mask:
    """Frames `[F]` in the middle of phonemes that are spelt with `letters` only, but for marks of stress and length."""
    found = np.zeros(clip.num_frames, np.bool_)
    for phoneme in clip.phonemes:
        spelt = phoneme.name.strip(_MARKS)
        if spelt and set(spelt) <= set(letters):
            quarter = (phoneme.end_s - phoneme.start_s) / 4
            first = round((phoneme.start_s + quarter) * clip.fps - 0.5)
            found[first : max(first + 1, round((phoneme.end_s - quarter) * clip.fps + 0.5))] = True
    return found


def _bilabial_spans(clip: HeldOutClip) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    for phoneme in clip.phonemes:
        if phoneme.name[:1] in _BILABIALS and phoneme.name and phoneme.end_s * clip.fps < clip.num_frames:
            start = max(0, int(phoneme.start_s * clip.fps) - _CLOSURE_MARGIN_FRAMES)
            spans.append((start, int(phoneme.end_s * clip.fps) + 1 + _CLOSURE_MARGIN_FRAMES))
    return spans
