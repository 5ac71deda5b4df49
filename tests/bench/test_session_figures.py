"""What a viewer's notes say, on notes that were made up and of which everything is known."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from avacast.bench import session_figures as figures
from avacast.bench.session_page import RATE_HZ, Noted, noted
from avacast.engine.errors import Unavailable

BOX = (40, 16, 60, 48)
ASKED = 1_000.0


def speech() -> np.ndarray:
    """Four seconds of noise with a pause from 2.0 to 2.2 s."""
    sound = np.random.default_rng(0).normal(0, 0.1, 4 * RATE_HZ).astype(np.float32)
    sound[2 * RATE_HZ : round(2.2 * RATE_HZ)] = 0
    return sound


def notes(*, sound: np.ndarray | None = None, shut_at: float = ASKED, position_s: float = 1.0) -> Noted:
    """Frames every 40 ms from 0 to 3 s, the mouth open until `shut_at`; sound from 0 on."""
    times = np.arange(0, 3_000, 40.0)
    frames = np.full((len(times), 64, 64, 3), (200, 150, 120), np.uint8)
    frames[times < shut_at, 46:56, 20:44] = (60, 8, 8)
    log = [{"name": "clear", "at": ASKED}, {"name": "playback_finished", "at": 1_010, "playback_position": position_s}]
    played = np.zeros(3 * RATE_HZ, np.float32) if sound is None else sound
    return Noted(log, [], times, frames, played, 0.0, 0.0)


@pytest.mark.parametrize("heard_ms", [0, 40, 250])
def test_stale_sound_ends_with_the_last_that_is_loud(heard_ms: int):
    sound = np.zeros(3 * RATE_HZ, np.float32)
    sound[: round((ASKED + heard_ms) * RATE_HZ / 1000)] = 0.1
    assert figures.stale_audio_ms(notes(sound=sound), ASKED) == pytest.approx(heard_ms, abs=0.1)


@pytest.mark.parametrize("still_open_ms", [0, 120, 400])
def test_stale_pictures_end_when_the_mouth_is_shut_for_good(still_open_ms: int):
    """To a frame."""
    stale = figures.stale_video_ms(notes(shut_at=ASKED + still_open_ms), ASKED, BOX)
    assert stale == pytest.approx(still_open_ms, abs=40)


def test_a_mouth_that_never_opened_tells_nothing():
    assert np.isnan(figures.stale_video_ms(notes(shut_at=0), ASKED, BOX))


@pytest.mark.parametrize("said_s", [1.0, 1.7, 3.3])
@pytest.mark.parametrize("error_ms", [-50, 0, 15])
def test_the_position_is_found_again_in_what_was_sent(said_s: float, error_ms: int):
    """Wherever it is played: what counts is which part of the speech came last."""
    sent = speech()
    played = np.concatenate([np.zeros(777, np.float32), sent[: round(said_s * RATE_HZ)], np.zeros(9_600, np.float32)])
    error = figures.position_error_ms(notes(sound=played), sent, said_s + error_ms / 1000)
    # A few samples after the last are allowed for, because a cut just before a pause cannot be told from one within.
    assert error == pytest.approx(abs(error_ms), abs=6)


def test_a_cut_within_a_pause_is_no_error_wherever_it_is():
    sent = speech()
    played = np.concatenate([sent[: round(2.1 * RATE_HZ)], np.zeros(9_600, np.float32)])
    for position_s in (2.0, 2.1, 2.2):
        assert figures.position_error_ms(notes(sound=played), sent, position_s) < 1e-6


def test_sound_that_was_never_sent_has_no_position():
    other = np.random.default_rng(9).normal(0, 0.1, RATE_HZ).astype(np.float32)
    assert np.isnan(figures.position_error_ms(notes(sound=other), speech(), 1.0))


def test_skew_is_positive_where_sound_is_early():
    """Reports without both times do not count."""
    name = "estimatedPlayoutTimestamp"
    stats = [{"audio": {name: 5_040}, "video": {name: 5_000}}, {"audio": {name: 1}}, {"at": 3}]
    assert figures.skews_ms(stats).tolist() == [40]


def test_rates_are_those_between_the_first_and_the_last_report():
    first = {"framesDecoded": 100, "freezeCount": 1, "totalFreezesDuration": 0.5}
    last = {"framesDecoded": 350, "freezeCount": 2, "totalFreezesDuration": 0.75}
    sound = {"totalSamplesReceived": 0, "concealedSamples": 0}
    heard = {"totalSamplesReceived": 480_000, "concealedSamples": 4_800}
    stats = [{"at": 0.0, "video": first, "audio": sound}, {"at": 10_000.0, "video": last, "audio": heard}]
    assert figures.received(stats, np.array([0.0, 40.0, 140.0])) == pytest.approx(
        {
            "fps": 25,
            "freezes_per_minute": 6,
            "frozen_ms_per_minute": 1_500,
            "longest_gap_ms": 100,
            "concealed_percent": 1,
        }
    )


def test_the_microphone_is_seen_and_heard_later():
    """Ten seconds of syllables: the mouth is 480 ms behind and the voice 520 ms."""
    rng = np.random.default_rng(4)
    loud = np.repeat(np.convolve(rng.random(100), [0.5, 0.5], "same"), RATE_HZ // 10)
    sent = (loud * rng.normal(0, 0.3, len(loud))).astype(np.float32)
    times = np.arange(0, 13_000, 40.0)
    frames = np.full((len(times), 64, 64, 3), (200, 150, 120), np.uint8)
    for frame, time_ms in zip(frames, times, strict=True):
        sample = round((time_ms - 500 - 480) * RATE_HZ / 1000)
        rows = round(14 * np.sqrt(loud[sample])) if 0 <= sample < len(loud) else 0
        frame[44 : 44 + rows, 20:44] = (60, 8, 8)
    heard = np.concatenate([np.zeros(round(1.02 * RATE_HZ), np.float32), sent, np.zeros(2 * RATE_HZ, np.float32)])
    lag_ms, heard_ms, correlation = figures.microphone_lag_ms(
        Noted([], [], times, frames, heard, 0.0, 0.0), sent, 500.0, BOX
    )
    assert lag_ms == pytest.approx(480, abs=41)
    assert heard_ms == pytest.approx(520, abs=41)
    assert correlation > 0.8


def test_notes_are_unpacked_and_placed():
    """Two frames of a box of 2 by 3 pixels, and two chunks of sound of which the second was read soonest."""
    pixels = np.arange(2 * 2 * 3 * 4, dtype=np.uint8)
    raw = {
        "log": [{"name": "click", "at": 5}],
        "stats": [],
        "frames": [10, 50],
        "size": [8, 8],
        "pixels": base64.b64encode(pixels.tobytes()).decode(),
        "chunks": [[130, 480, RATE_HZ], [125, 480, RATE_HZ]],
        "sound": base64.b64encode(np.full(960, 0.5, np.float32).tobytes()).decode(),
    }
    read = noted(raw, (1, 2, 3, 5))
    assert read.frames.shape == (2, 8, 8, 3)
    assert read.frames[1, 1:3, 2:5].tolist() == pixels.reshape(2, 2, 3, 4)[1, :, :, :3].tolist()
    assert not read.frames[:, 0].any()
    assert (read.sound_start, len(read.sound)) == (105, 960)
    assert read.time_of("click") == 5
    with pytest.raises(Unavailable, match="never told 'ready', but click"):
        read.time_of("ready")
