"""A video file as pictures at a fixed rate and size, and its sound at 16 kHz."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from avacast.engine.errors import BadVideo
from avacast.training.video_source import VideoSource


def levels(num_frames: int) -> np.ndarray:
    """Flat grey pictures [T, 32, 32, 3], each brighter than the one before."""
    grey = np.linspace(30, 220, num_frames).astype(np.uint8)
    return np.broadcast_to(grey[:, None, None, None], (num_frames, 32, 32, 3)).copy()


def tone(seconds: float, rate_hz: int, pitch_hz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * pitch_hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


@pytest.mark.parametrize("fps", [25, 30, 50, 12])
def test_a_picture_is_the_one_shown_at_the_middle_of_its_time(write_video: Any, tmp_path: Path, fps: int):
    """Any rate becomes 25 a second: as many pictures as the video is long, each from its own moment."""
    true = levels(2 * fps)
    source = VideoSource.open(write_video.write(tmp_path / "a.mp4", true, tone(2, 44_100), fps=fps))
    shown = torch.stack(list(source.pictures(32, 32, 25))).mean(dim=(1, 2, 3)).numpy() * 255
    assert len(shown) == source.num_frames(25) == 50
    expected = [true[int((k + 0.5) / 25 * fps + 1e-6), 0, 0, 0] for k in range(50)]
    assert np.abs(shown - expected).max() < 3


def test_the_centre_is_cut_out(write_video: Any, tmp_path: Path):
    """A wide picture loses its sides, never its shape."""
    frames = np.zeros((5, 32, 64, 3), np.uint8)
    frames[:, :, 16:48] = 255
    source = VideoSource.open(write_video.write(tmp_path / "a.mp4", frames, tone(0.2, 44_100)))
    picture = next(source.pictures(16, 16, 25))
    assert picture.shape == (3, 16, 16)
    assert picture[:, :, 2:-2].min() > 0.95


@pytest.mark.parametrize(("name", "codec", "sound_codec"), [("a.mkv", "mpeg4", "flac"), ("a.avi", "mpeg4", "mp2")])
def test_other_containers_are_read(write_video: Any, tmp_path: Path, name: str, codec: str, sound_codec: str):
    """Time stamps differ from container to container; pictures and sound come out alike."""
    writer = replace(write_video, codec=codec, sound_codec=sound_codec, rate_hz=48_000)
    source = VideoSource.open(writer.write(tmp_path / name, levels(50), tone(2, 48_000)))
    assert len(list(source.pictures(32, 32, 25))) == 50
    assert abs(len(source.sound()) - 32_000) < 800


def test_sound_keeps_its_pitch_and_level(write_video: Any, tmp_path: Path):
    """44.1 kHz stereo becomes 16 kHz mono of the same length, pitch and level."""
    source = VideoSource.open(write_video.write(tmp_path / "a.mp4", levels(50), tone(2, 44_100)))
    samples = source.sound()
    assert samples.dtype == np.float32
    assert abs(len(samples) - 32_000) < 1200
    inner = samples[8000:24_000]
    assert np.argmax(np.abs(np.fft.rfft(inner))) == 440
    assert np.std(inner) == pytest.approx(0.5 / 2**0.5, rel=0.05)


def test_sound_that_begins_late_stays_in_step_with_the_pictures(write_video: Any, tmp_path: Path):
    """A track that starts 0.4 s after the first picture is silent until then."""
    writer = replace(write_video, sound_delay_s=0.4)
    source = VideoSource.open(writer.write(tmp_path / "a.mp4", levels(50), tone(1, 44_100)))
    loud = np.flatnonzero(np.abs(source.sound()) > 0.05)[0] / 16_000
    assert loud == pytest.approx(0.4, abs=0.03)


@pytest.mark.skipif(
    shutil.which("ffmpeg") is None, reason="only ffmpeg can write the note that a film lies on its side"
)
def test_a_film_that_lies_on_its_side_is_set_upright(write_video: Any, tmp_path: Path):
    """As phones store upright films: the pictures come as a player shows them."""
    frames = np.zeros((5, 32, 64, 3), np.uint8)
    frames[:, :16, :16] = 255
    lying, noted, turned = (tmp_path / name for name in ("lying.mp4", "noted.mp4", "turned.mp4"))
    write_video.write(lying, frames, tone(0.2, 44_100))
    ffmpeg = ["ffmpeg", "-loglevel", "error", "-i"]
    subprocess.run([*ffmpeg, lying, "-c", "copy", "-metadata:s:v", "rotate=90", noted], check=True)
    subprocess.run([*ffmpeg, noted, turned], check=True)
    assert VideoSource.open(noted).upright_size() == (64, 32)
    ours, players = (next(VideoSource.open(path).pictures(32, 16, 25)) for path in (noted, turned))
    assert (ours - players).abs().max() < 0.1


def test_what_is_no_video_is_refused_in_one_line(write_video: Any, tmp_path: Path):
    """Missing, empty, text, or sound without pictures."""
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video at all " * 100)
    whole = write_video(tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 3])
    for name in ("missing.mp4", "empty.mp4", "text.mp4", "cut.mp4"):
        with pytest.raises(BadVideo, match=name) as error:
            VideoSource.open(tmp_path / name)
        assert "\n" not in str(error.value)
