"""A folder of videos and masks is found fit, or refused in one line that names the file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from avacast.engine.errors import AvacastError, BadAudio, BadSetting, BadVideo
from avacast.training.video_folder import TrainingVideo, find_videos


def find(folder: Path) -> list[TrainingVideo]:
    return find_videos(folder, fps=25, min_frames=9)


def refusal(folder: Path, kind: type[AvacastError]) -> str:
    with pytest.raises(kind) as error:
        find(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_videos_are_found_with_their_masks(write_video: Any, write_mask: Callable[..., Path], tmp_path: Path):
    """Stills and videos are masks; other files are left alone; the order is that of the names."""
    write_video(tmp_path / "b.mp4")
    write_video(tmp_path / "a.mkv", fps=50)
    write_mask(tmp_path / "b.face.mp4", 30)
    Image.new("L", (48, 40), 255).save(tmp_path / "b.lips.png")
    (tmp_path / "notes.txt").write_text("mine")
    first, second = find(tmp_path)
    assert (first.name, sorted(first.masks)) == ("a", [])
    assert (second.name, sorted(second.masks)) == ("b", ["face", "lips"])
    face = torch.stack(list(second.masks["face"].pictures(32, 32, 25)))
    assert face.shape == (30, 3, 32, 32)
    assert face[..., :14].max() < 0.1
    assert face[..., 18:].min() > 0.9
    assert all(picture.min() == 1 for picture in islice(second.masks["lips"].pictures(32, 32, 25), 3))


def test_the_digest_is_that_of_the_bytes(write_video: Any, tmp_path: Path):
    """Another name is the same video; another mask is not."""
    write_video(tmp_path / "a.mp4")
    before = find(tmp_path)[0].digest()
    (tmp_path / "a.mp4").rename(tmp_path / "b.mp4")
    renamed = find(tmp_path)[0].digest()
    Image.new("L", (48, 40), 255).save(tmp_path / "b.lips.png")
    masked = find(tmp_path)[0].digest()
    assert before == renamed != masked


def test_a_folder_without_videos_is_refused(tmp_path: Path):
    assert "no folder" in refusal(tmp_path / "nowhere", BadSetting)
    (tmp_path / "notes.txt").write_text("mine")
    assert "no video files" in refusal(tmp_path, BadSetting)


def test_a_video_without_sound_is_refused(write_video: Any, tmp_path: Path):
    replace(write_video, sound_codec=None).write(
        tmp_path / "mute.mp4", np.zeros((30, 32, 32, 3), np.uint8), np.zeros(0, np.float32)
    )
    assert "mute.mp4 has no sound track" in refusal(tmp_path, BadAudio)


def test_a_video_shorter_than_a_window_is_refused(write_video: Any, tmp_path: Path):
    write_video(tmp_path / "blip.mp4", num_frames=8)
    message = refusal(tmp_path, BadVideo)
    assert "blip.mp4 is too short: 0.32 s" in message
    assert "0.36 s" in message


def test_a_mask_of_another_length_or_size_is_refused(write_video: Any, write_mask: Callable[..., Path], tmp_path: Path):
    write_video(tmp_path / "a.mp4")
    write_mask(tmp_path / "a.lips.mp4", 29)
    assert "a.lips.mp4 has 29 pictures at 25 a second, its video 30" in refusal(tmp_path, BadVideo)
    write_mask(tmp_path / "a.lips.mp4", 30, (40, 40))
    assert "a.lips.mp4 is 40x40, its video 48x40" in refusal(tmp_path, BadVideo)


def test_a_mask_that_belongs_to_nothing_is_refused(write_video: Any, write_mask: Callable[..., Path], tmp_path: Path):
    """Two masks for one thing, a mask without a video, or one that is no picture."""
    write_video(tmp_path / "a.mp4")
    (tmp_path / "a.face.png").write_text("no picture")
    assert "a.face.png is damaged or no PNG" in refusal(tmp_path, BadVideo)
    write_mask(tmp_path / "a.face.mp4", 30)
    assert "are both there" in refusal(tmp_path, BadSetting)
    (tmp_path / "a.face.png").unlink()
    write_mask(tmp_path / "other.face.mp4", 30)
    assert "other.face.mp4 is a mask without its video" in refusal(tmp_path, BadSetting)
