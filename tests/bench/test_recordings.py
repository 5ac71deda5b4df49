"""Recordings of people become clips that have a voice and a portrait but no truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from avacast.bench.held_out_clip import HeldOutClip
from avacast.bench.recordings import MAX_RECORDING_S, MAX_RECORDINGS, recorded_clips
from avacast.engine.errors import BadAudio, BadSetting


def write(file: Path, duration_s: float) -> None:
    file.parent.mkdir(exist_ok=True)
    soundfile.write(file, np.full(round(8_000 * duration_s), 0.25), 8_000)


def test_the_longest_come_first_and_a_long_one_is_cut(clip: HeldOutClip, tmp_path: Path) -> None:
    write(tmp_path / "anna" / "short.wav", 1)
    write(tmp_path / "ben" / "long.flac", MAX_RECORDING_S + 5)
    (tmp_path / "anna" / "notes.txt").write_text("no sound")
    long, short = recorded_clips(tmp_path, [clip])
    assert (long.name, short.name) == ("ben/long", "anna/short")
    assert (len(long.samples), len(short.samples)) == (MAX_RECORDING_S * 16_000, 16_000)
    assert short.samples[4_000:12_000] == pytest.approx(0.25, abs=0.01)


def test_nothing_is_known_of_them_but_the_portrait(clip: HeldOutClip, tmp_path: Path) -> None:
    write(tmp_path / "voice.wav", 1)
    (read,) = recorded_clips(tmp_path, [clip])
    assert (read.truth, read.phonemes) == (None, ())
    assert read.boxes == clip.boxes
    assert np.array_equal(read.portrait, clip.portrait)


def test_of_many_only_some_are_taken(clip: HeldOutClip, tmp_path: Path) -> None:
    for index in range(MAX_RECORDINGS + 2):
        write(tmp_path / f"{index}.wav", 0.2)
    assert len(recorded_clips(tmp_path, [clip, clip])) == MAX_RECORDINGS


def test_a_folder_without_sounds_and_a_damaged_sound_are_told(clip: HeldOutClip, tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="there is no sound file"):
        recorded_clips(tmp_path, [clip])
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    with pytest.raises(BadAudio):
        recorded_clips(tmp_path, [clip])
