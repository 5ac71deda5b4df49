"""What a viewer's notes of a session say: skew, freezes, and how soon sound and picture follow an interruption.

Pure arithmetic on `session_page.Noted`; knows no browser and no server.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avacast.bench.lip_sync import best_correlation
from avacast.bench.session_page import RATE_HZ, Noted
from avacast.engine.mouth import Box, mouth_opening

LOUD = 0.003
"""-50 dBFS: what is quieter is not heard as speech."""

MATCH_MS = 300
"""Of the sound before it ends, to be found again in what was sent: long enough to occur once."""

SETTLED_MS = 1200
"""After an interruption the mouth is surely shut; what it shows from then on is what shut looks like."""

OPEN_SHARE = 0.25
"""Of the way from shut to wide open in speech: from here on a mouth counts as open."""

MIN_MATCH = 0.5
"""Correlation below which sound was not found again."""

MAX_MICROPHONE_LAG_S = 2.0


@dataclass(frozen=True)
class Interruption:
    """One interruption, in milliseconds; NaN where it could not be told."""

    stale_audio: float
    """From the request to the last loud sample of the old speech that was played."""
    stale_video: float
    """From the request to the moment from which the mouth stays shut."""
    position_error: float
    """Of `playback_finished`, against what was played."""


def interruption(noted: Noted, speech: NDArray[np.float32], box: Box) -> Interruption:
    """Reads one interruption of `speech`, float32 [N] at 48 kHz, off the notes of it."""
    asked = noted.time_of("clear")
    position_s = float(noted.event("playback_finished")["playback_position"])
    return Interruption(
        stale_audio=stale_audio_ms(noted, asked),
        stale_video=stale_video_ms(noted, asked, box),
        position_error=position_error_ms(noted, speech, position_s),
    )


def stale_audio_ms(noted: Noted, asked: float) -> float:
    """How long after `asked` speech was still played; 0 for none."""
    loud = np.flatnonzero(np.abs(noted.sound) > LOUD)
    return max(0.0, noted.sound_start + loud[-1] * 1000 / RATE_HZ - asked) if len(loud) else float("nan")


def stale_video_ms(noted: Noted, asked: float, box: Box) -> float:
    """How long after `asked` the mouth still was open; 0 for not at all, NaN if it never opened before."""
    opening, times = mouth_opening(noted.frames, box), noted.frame_times
    shut = np.median(opening[times > asked + SETTLED_MS])
    wide = np.percentile(opening[times <= asked], 90)
    limit = shut + OPEN_SHARE * (wide - shut)
    if not wide > shut + 0.004:
        return float("nan")
    still_open = times[(opening > limit) & (times > asked) & (times < asked + SETTLED_MS)]
    following = times[times > still_open[-1]] if len(still_open) else np.array([asked])
    return float(following[0] - asked)


def position_error_ms(noted: Noted, speech: NDArray[np.float32], position_s: float) -> float:
    """How far `position_s` is from where in `speech` the played sound ends; NaN where it is not found again.

    Where the sound ends just before a pause of the speech, any place in that pause may be where it was cut.
    """
    loud = np.flatnonzero(np.abs(noted.sound) > LOUD)
    num = MATCH_MS * RATE_HZ // 1000
    if not len(loud) or loud[-1] < num:
        return float("nan")
    ending = noted.sound[loud[-1] + 1 - num : loud[-1] + 1].astype(np.float64)
    size = 1 << int(np.ceil(np.log2(len(speech) + num)))
    products = np.fft.irfft(np.fft.rfft(speech, size) * np.conj(np.fft.rfft(ending, size)), size)
    products = products[: len(speech) - num + 1]
    power = np.concatenate([[0.0], np.cumsum(speech.astype(np.float64) ** 2)])
    scores = products / np.sqrt((power[num:] - power[:-num]) * (ending @ ending) + 1e-9)
    first = int(np.argmax(scores))
    if scores[first] < MIN_MATCH:
        return float("nan")
    last_loud = first + num
    following = np.flatnonzero(np.abs(speech[last_loud + RATE_HZ // 200 :]) > 2 * LOUD)
    next_loud = last_loud + RATE_HZ // 200 + following[0] if len(following) else len(speech)
    position = position_s * RATE_HZ
    return 1000 / RATE_HZ * float(max(0.0, last_loud - position, position - next_loud))


def skews_ms(stats: Sequence[dict[str, Any]]) -> NDArray[np.float64]:
    """Sound against picture in each of the browser's reports that tells; positive where sound is early."""
    name = "estimatedPlayoutTimestamp"
    both = [s for s in stats if name in s.get("audio", {}) and name in s.get("video", {})]
    return np.array([s["audio"][name] - s["video"][name] for s in both], np.float64)


def received(stats: Sequence[dict[str, Any]], frame_times: NDArray[np.float64]) -> dict[str, float]:
    """Frame rate, freezes and lost sound between the first and the last of the browser's reports."""
    first, last = stats[0], stats[-1]
    seconds = (last["at"] - first["at"]) / 1000

    def grown(kind: str, name: str) -> float:
        return float(last[kind].get(name, 0) - first[kind].get(name, 0))

    return {
        "fps": grown("video", "framesDecoded") / seconds,
        "freezes_per_minute": 60 * grown("video", "freezeCount") / seconds,
        "frozen_ms_per_minute": 60_000 * grown("video", "totalFreezesDuration") / seconds,
        "longest_gap_ms": float(np.diff(frame_times).max(initial=0)),
        "concealed_percent": 100 * grown("audio", "concealedSamples") / max(1, grown("audio", "totalSamplesReceived")),
    }


def microphone_lag_ms(noted: Noted, speech: NDArray[np.float32], begins: float, box: Box) -> tuple[float, float, float]:
    """How long after the microphone heard `speech` (float32 [N] at 48 kHz, from `begins` on) the mouth moved with it
    and the avatar's voice was played, in milliseconds, and how well the mouth follows (correlation).
    """
    opening, times = mouth_opening(noted.frames, box), noted.frame_times / 1000
    said = (times >= begins / 1000) & (times <= begins / 1000 + len(speech) / RATE_HZ + MAX_MICROPHONE_LAG_S)
    loudness = _loudness_at(times[said], speech, begins / 1000)
    correlation, lag_s = best_correlation(times[said], opening[said], loudness, max_lag_s=MAX_MICROPHONE_LAG_S)
    played = _loudness_at(times[said], noted.sound, noted.sound_start / 1000)
    _, heard_s = best_correlation(times[said], played, loudness, max_lag_s=MAX_MICROPHONE_LAG_S)
    return 1000 * lag_s, 1000 * heard_s, correlation


def _loudness_at(times_s: NDArray[np.float64], sound: NDArray[np.float32], start_s: float) -> NDArray[np.float64]:
    """RMS of the 40 ms around each time."""
    power = np.concatenate([[0.0], np.cumsum(sound.astype(np.float64) ** 2)])
    half = RATE_HZ // 50
    middle = ((times_s - start_s) * RATE_HZ).astype(np.int64)
    low, high = np.clip(middle - half, 0, len(sound)), np.clip(middle + half, 0, len(sound))
    return np.sqrt((power[high] - power[low]) / (2 * half))
