"""Windows of real videos, encoded as a session would meet them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from avacast.engine.audio_features import open_features
from avacast.engine.bundle import load_bundle
from avacast.engine.errors import BadAudio
from avacast.engine.pipeline import Pipeline
from avacast.training.clip_cache import ClipPlan, cached_clips, encode_video, read_clip
from avacast.training.video_folder import TrainingVideo, find_videos

PLAN = ClipPlan(window=3, hop=1)
KINDS = ("released_bundle", "pocket_bundle")


@pytest.fixture
def videos(write_video: Any, write_mask: Callable[..., Path], tmp_path: Path) -> list[TrainingVideo]:
    """One video of 30 pictures, that is of 8 whole latent frames, with a mask of the lips."""
    folder = tmp_path / "videos"
    folder.mkdir()
    write_video(folder / "talk.mp4")
    write_mask(folder / "talk.lips.mp4", 30)
    return find_videos(folder, fps=25, min_frames=PLAN.num_frames)


def load(path: Path) -> Pipeline:
    return Pipeline.load(path, dtype=torch.float32)


def test_clips_lie_in_their_video_whole():
    """As many as fit, one every hop; the first latent frame is one picture, every other four."""
    assert PLAN.num_frames == 9
    assert list(PLAN.starts(8)) == []
    assert list(PLAN.starts(9)) == [0]
    assert list(PLAN.starts(16)) == [0, 1]
    assert list(ClipPlan(21, 10).starts(81 + 40 * 2)) == [0, 10, 20]


@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_hears_what_a_session_hears(kind: str, videos: list[TrainingVideo], request: pytest.FixtureRequest):
    """Tokens and masks are those of the session's own features, in the model's own alignment."""
    pipeline = load(request.getfixturevalue(kind))
    features = open_features(pipeline.networks.speech_encoder, pipeline.config, pipeline.config.window)
    features.push(videos[0].source.sound()[: 30 * 640])
    features.flush()
    clips = list(encode_video(pipeline.networks, pipeline.config, videos[0], PLAN))
    assert len(clips) == 6
    for start, clip in enumerate(clips):
        audio, mask = features.take(start, start + 3)
        assert torch.equal(clip["audio"], audio.half())
        assert torch.equal(clip["audio_mask"], mask)


def test_a_window_by_itself_begins_with_a_single_picture(videos: list[TrainingVideo], released_bundle: Path):
    """As released: pictures 4s to 4s+8 are encoded alone; the first of them is the reference, grey follows it."""
    pipeline = load(released_bundle)
    pictures = torch.stack(list(videos[0].source.pictures(32, 32, 25)))
    clips = list(encode_video(pipeline.networks, pipeline.config, videos[0], PLAN))
    with torch.inference_mode():
        for start in (0, 2):
            window = pictures[4 * start : 4 * start + 9]
            assert torch.equal(clips[start]["latents"], pipeline.networks.encode(window).half())
            grey = torch.full_like(window, 0.5)
            expected = pipeline.networks.encode(torch.cat([window[:1], grey[1:]]))
            assert torch.equal(clips[start]["reference"], expected.half())
            seen = pipeline.networks.see(window[0])
            assert seen is not None
            assert torch.equal(clips[start]["image"], seen[0].half())


def test_a_window_in_mid_stream_has_a_past(videos: list[TrainingVideo], pocket_bundle: Path):
    """One latent frame before it is encoded and dropped, so all of its latent frames are of four pictures; the
    reference is the video's first picture throughout.
    """
    pipeline = load(pocket_bundle)
    pictures = torch.stack(list(videos[0].source.pictures(32, 32, 25)))
    clips = list(encode_video(pipeline.networks, pipeline.config, videos[0], PLAN))
    with torch.inference_mode():
        reference = pipeline.networks.encode(pictures[:1]).half()
        assert torch.equal(clips[0]["latents"], pipeline.networks.encode(pictures[:9]).half())
        assert torch.equal(clips[3]["latents"], pipeline.networks.encode(pictures[8:21])[:, 1:].half())
    assert all(torch.equal(clip["reference"], reference) for clip in clips)
    assert "image" not in clips[0]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_back_is_what_the_transformer_takes(
    kind: str, videos: list[TrainingVideo], tmp_path: Path, request: pytest.FixtureRequest
):
    """Latents, reference with its mask channels, and masks by latent cell; a mask that is missing is all ones."""
    bundle = load_bundle(request.getfixturevalue(kind))
    pipeline = load(bundle.manifest.folder)
    paths = cached_clips(pipeline.networks, bundle, videos, PLAN, tmp_path / "cache")
    clip = read_clip(paths[1], bundle.config)
    assert clip["sample"].shape == (16, 3, 4, 4)
    assert clip["reference"].shape == (20, 3, 4, 4)
    assert clip["reference"][:4, 1].unique().tolist() == [float(bundle.config.dit.reference_on == "all")]
    assert clip["face"].min() == 1
    assert clip["lips"][..., 0].max() < 0.1
    assert clip["lips"][..., 3].min() > 0.9


def test_a_moving_mask_covers_all_that_it_covered(write_video: Any, pocket_bundle: Path, tmp_path: Path):
    """Within a latent frame a mask is the union of its pictures: a mouth that opens for one counts in all."""
    write_video(tmp_path / "talk.mp4", size=(32, 32))
    frames = np.zeros((30, 32, 32, 3), np.uint8)
    frames[6, :16] = 255
    mute = dataclasses.replace(write_video, sound_codec=None)
    mute.write(tmp_path / "talk.lips.mp4", frames, np.zeros(0, np.float32))
    pipeline = load(pocket_bundle)
    (video,) = find_videos(tmp_path, fps=25, min_frames=9)
    lips = [clip["lips"] for clip in encode_video(pipeline.networks, pipeline.config, video, PLAN)]
    for start, shown in ((0, 2), (1, 1), (2, 0)):
        assert lips[start][shown, 0].min() > 200
        assert lips[start][shown, 3].max() < 20
        assert sum(lips[start][other].max() for other in range(3) if other != shown) < 20
    assert lips[3].max() < 20


def test_a_video_is_encoded_once(videos: list[TrainingVideo], pocket_bundle: Path, tmp_path: Path):
    """A second call only counts; another mask or another hop is another clip; what fails leaves nothing behind."""
    bundle, networks = load_bundle(pocket_bundle), load(pocket_bundle).networks
    cache = tmp_path / "cache"
    counted: list[None] = []

    def count() -> None:
        counted.append(None)

    first = cached_clips(networks, bundle, videos, PLAN, cache, count)
    written = [path.stat().st_mtime_ns for path in first]
    again = cached_clips(networks, bundle, videos, PLAN, cache, count)
    assert (first, len(counted)) == (again, 12)
    assert written == [path.stat().st_mtime_ns for path in again]
    assert cached_clips(networks, bundle, videos, ClipPlan(3, 2), cache)[0].parent != first[0].parent
    Image.new("L", (48, 40)).save(videos[0].source.path.with_name("talk.face.png"))
    masked = find_videos(videos[0].source.path.parent, fps=25, min_frames=9)
    assert cached_clips(networks, bundle, masked, PLAN, cache)[0].parent != first[0].parent
    assert not list(cache.glob(".*"))


def test_sound_that_ends_before_a_window_does_is_refused(write_video: Any, pocket_bundle: Path, tmp_path: Path):
    write_video.write(tmp_path / "a.mp4", np.zeros((30, 32, 32, 3), np.uint8), np.zeros(4410, np.float32))
    (video,) = find_videos(tmp_path, fps=25, min_frames=9)
    pipeline = load(pocket_bundle)
    with pytest.raises(BadAudio, match=r"a.mp4 ends after 0\.\d+ s, one window of this model is 0\.36 s"):
        next(encode_video(pipeline.networks, pipeline.config, video, PLAN))
