"""A folder of videos to learn from, each with the masks beside it; everything about it is checked before work begins.

    talk.mp4              the video
    talk.face.mp4|png     where the face is (optional)
    talk.lips.mp4|png     where the lips are (optional)

In a mask white is inside. A still holds for the whole video; a video has as many pictures as the one it belongs to.
Knows files and their lengths; knows nothing of latents.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from torch import Tensor

from avacast.engine.errors import BadAudio, BadSetting, BadVideo
from avacast.engine.portrait import Picture
from avacast.engine.reference import prepare_portrait
from avacast.training.video_source import VIDEO_SUFFIXES, VideoSource

Region: TypeAlias = Literal["face", "lips"]
REGIONS: tuple[Region, ...] = ("face", "lips")
MASK_SUFFIXES = (".mp4", ".png")


@dataclass(frozen=True)
class StillMask:
    """One picture that holds for every frame."""

    path: Path
    picture: Picture

    def pictures(self, height: int, width: int, fps: float) -> Iterator[Tensor]:  # noqa: ARG002  # as a video's
        """The mask over and over, float32 `[3, height, width]` in 0..1."""
        return itertools.repeat(prepare_portrait(self.picture, height, width))


@dataclass(frozen=True)
class TrainingVideo:
    """One video with a sound track, and its masks where they are there."""

    source: VideoSource
    masks: dict[Region, StillMask | VideoSource]

    @property
    def name(self) -> str:
        return self.source.path.stem

    def num_frames(self, fps: float) -> int:
        return self.source.num_frames(fps)

    def digest(self) -> str:
        """SHA-256 over the files' bytes."""
        digest = hashlib.sha256()
        for path in (self.source.path, *(self.masks[region].path for region in sorted(self.masks))):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        digest.update(repr(sorted(self.masks)).encode())
        return digest.hexdigest()


def find_videos(folder: Path, *, fps: float, min_frames: int) -> list[TrainingVideo]:
    """The videos in `folder`, by name, each at least `min_frames` long at `fps`.

    Raises BadSetting for a folder without videos or a mask without its video, BadVideo for one that is damaged, too
    short or does not go with its mask, BadAudio for one without a sound track.
    """
    if not folder.is_dir():
        raise BadSetting(f"there is no folder {folder}; name one with video files in it")
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
    masks = [path for path in files if _is_mask(path)]
    videos = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES and path not in masks]
    if not videos:
        raise BadSetting(f"{folder} holds no video files ({' '.join(sorted(VIDEO_SUFFIXES))}); put some there")
    stems = {path.stem for path in videos}
    for mask in masks:
        if Path(mask.stem).stem not in stems:
            raise BadSetting(f"{mask} is a mask without its video; name it after one, or take it away")
    return [_open(path, fps, min_frames) for path in videos]


def _is_mask(path: Path) -> bool:
    return path.suffix.lower() in MASK_SUFFIXES and Path(path.stem).suffix.lower() in {f".{name}" for name in REGIONS}


def _open(path: Path, fps: float, min_frames: int) -> TrainingVideo:
    source = VideoSource.open(path)
    if not source.has_sound:
        raise BadAudio(
            f"{path} has no sound track, so there is nothing to move the lips; take it away or add its sound"
        )
    num_frames = source.num_frames(fps)
    if num_frames < min_frames:
        raise BadVideo(
            f"{path} is too short: {num_frames / fps:.2f} s, and one window of this model is {min_frames / fps:.2f} s "
            f"({min_frames} pictures at {fps:g} a second); take it away"
        )
    size = source.upright_size()
    masks: dict[Region, StillMask | VideoSource] = {}
    for region in REGIONS:
        mask = _open_mask(path, region, size, num_frames, fps)
        if mask is not None:
            masks[region] = mask
    return TrainingVideo(source, masks)


def _open_mask(
    video: Path, region: Region, size: tuple[int, int], num_frames: int, fps: float
) -> StillMask | VideoSource | None:
    paths = [path for suffix in MASK_SUFFIXES if (path := video.with_name(f"{video.stem}.{region}{suffix}")).is_file()]
    if not paths:
        return None
    if len(paths) > 1:
        raise BadSetting(f"{paths[0]} and {paths[1].name} are both there; keep one of them")
    path = paths[0]
    mask = _open_still(path) if path.suffix == ".png" else VideoSource.open(path)
    mask_size = mask.picture.shape[:2] if isinstance(mask, StillMask) else mask.upright_size()
    if mask_size != size:
        raise BadVideo(f"{path} is {mask_size[1]}x{mask_size[0]}, its video {size[1]}x{size[0]}; make them equal")
    if isinstance(mask, VideoSource) and mask.num_frames(fps) != num_frames:
        raise BadVideo(
            f"{path} has {mask.num_frames(fps)} pictures at {fps:g} a second, its video {num_frames}; make them equal, "
            "or give one still as a PNG"
        )
    return mask


def _open_still(path: Path) -> StillMask:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=["PNG"]) as image:
            return StillMask(path, np.array(image.convert("RGB")))
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError) as error:
        raise BadVideo(f"{path} is damaged or no PNG; save it again") from error
