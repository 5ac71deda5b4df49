"""Windows of real videos as the transformer sees them, encoded once and kept on disk.

A clip is one window of latent frames with its sound, its reference and its masks. Everything comes from the very
classes that serve a session: the auto-encoder, `Reference`, CLIP, and the audio features in the model's own alignment.
Knows no loss and no optimiser.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor

from avacast.engine.audio_features import Features, open_features
from avacast.engine.bundle import Bundle
from avacast.engine.config import SAMPLE_RATE_HZ, SPATIAL_STRIDE, TEMPORAL_STRIDE, ModelConfig
from avacast.engine.errors import BadAudio
from avacast.engine.networks import Networks
from avacast.engine.reference import Reference
from avacast.engine.windows import frames_of_latents
from avacast.training.video_folder import REGIONS, TrainingVideo

_FORMAT = 1
"""Part of every digest: raised when what is stored changes."""

_ENCODERS = ("vae", "speech_encoder", "clip")
"""Networks of a bundle that decide what a clip looks like."""

_MISSING_SOUND_S = 0.1
"""A sound track may end this much before its pictures: codecs cut both in pieces of different length."""


@dataclass(frozen=True)
class ClipPlan:
    """Where the clips of a video lie: windows of `window` latent frames, one every `hop`."""

    window: int
    hop: int

    def __post_init__(self) -> None:
        assert 0 < self.hop <= self.window, self

    @property
    def num_frames(self) -> int:
        """Pictures of one clip."""
        return frames_of_latents(self.window)

    def starts(self, num_frames: int) -> range:
        """First latent frames of the clips of a video; those that lie in it whole."""
        num_latents = 1 + (num_frames - 1) // TEMPORAL_STRIDE
        return range(0, num_latents - self.window + 1, self.hop)


def cached_clips(
    networks: Networks,
    bundle: Bundle,
    videos: list[TrainingVideo],
    plan: ClipPlan,
    folder: Path,
    on_clip: Callable[[], object] = lambda: None,
) -> list[Path]:
    """The files of all clips, in order. Videos that were encoded before are not decoded again.

    `on_clip` is called for each clip. Raises what reading the videos raises.
    """
    clips: list[Path] = []
    for video in videos:
        place = folder / f"{video.name}_{_digest(bundle, video, plan)[:16]}"
        if not place.is_dir():
            _write(encode_video(networks, bundle.config, video, plan), place, on_clip)
        else:
            for _ in place.iterdir():
                on_clip()
        clips += sorted(place.iterdir())
    return clips


def encode_video(
    networks: Networks, config: ModelConfig, video: TrainingVideo, plan: ClipPlan
) -> Iterator[dict[str, Tensor]]:
    """The clips of one video, encoded as they are asked for; memory holds one of them at a time.

    Each has `latents` [C, F, h, w], `reference` [C, 1 or F, h, w], `audio` [F, A, D] and bool `audio_mask` [F, A];
    `image` [257, clip_dim] for a model that sees the picture; and, where there is a mask, `face` and `lips`, uint8
    [F, h, w], the share of each cell that is inside, of 255. Raises BadAudio where the sound ends before a whole clip.
    """
    height, width, fps = config.height, config.width, config.fps
    num_frames, features = _listen(networks, config, video, plan)
    frames = _Passing(video.source.pictures(height, width, fps))
    masks = {region: _Passing(mask.pictures(height, width, fps)) for region, mask in video.masks.items()}
    whole_picture = frames.read(0, 1)[0]
    for start in plan.starts(num_frames):
        # Mid-stream, the auto-encoder has seen what went before: one latent frame more is encoded and dropped again.
        # A window by itself, as released, begins with a latent frame of a single picture.
        lead = min(start, 1) if config.audio.alignment == "stream" else 0
        span = TEMPORAL_STRIDE * (start - lead), TEMPORAL_STRIDE * (start + plan.window - 1) + 1
        seen = frames.read(*span)
        # A model that is given the reference once takes it for the window's first picture.
        picture = whole_picture if config.dit.reference_on == "all" else seen[TEMPORAL_STRIDE * lead]
        with torch.inference_mode():
            clip = {"latents": networks.encode(seen)[:, lead:]}
            clip["reference"] = Reference.encode(networks.encode, picture, config.dit.reference_on, plan.window).latents
            clip["audio"], clip["audio_mask"] = features.take(start, start + plan.window)
            image = networks.see(picture)
        if image is not None:
            clip["image"] = image[0]
        for region, mask in masks.items():
            clip[region] = _per_latent(mask.read(*span))[lead:]
        yield {name: _stored(tensor) for name, tensor in clip.items()}


def read_clip(path: Path, config: ModelConfig) -> dict[str, Tensor]:
    """A clip as the transformer takes it: `sample`, `reference` with its mask, `audio`, `audio_mask`, `image`; and
    `face` and `lips`, float32 [F, h, w], all ones where there is no mask.
    """
    stored = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in safetensors.torch.load_file(path).items()
    }
    latents = stored["latents"]
    clip = {name: stored[name] for name in ("audio", "audio_mask", "image") if name in stored}
    clip["sample"] = latents
    clip["reference"] = Reference(stored["reference"], config.dit.reference_on).layout(latents.shape[1])
    for region in REGIONS:
        clip[region] = stored[region].float() / 255 if region in stored else torch.ones(latents.shape[1:])
    return clip


def _listen(networks: Networks, config: ModelConfig, video: TrainingVideo, plan: ClipPlan) -> tuple[int, Features]:
    """Pictures that have sound, and the features of all of it."""
    samples = video.source.sound()
    sound_s = len(samples) / SAMPLE_RATE_HZ
    num_frames = min(video.num_frames(config.fps), int((sound_s + _MISSING_SOUND_S) * config.fps))
    if num_frames < plan.num_frames:
        raise BadAudio(
            f"the sound of {video.source.path} ends after {sound_s:.2f} s, one window of this model is "
            f"{plan.num_frames / config.fps:.2f} s; take it away"
        )
    num_samples = num_frames * config.samples_per_frame
    features = open_features(networks.speech_encoder, config, config.window)
    features.push(np.pad(samples[:num_samples], (0, max(0, num_samples - len(samples)))))
    features.flush()
    return num_frames, features


class _Passing:
    """Pictures that pass by, read in spans whose beginnings never go back."""

    def __init__(self, pictures: Iterator[Tensor]) -> None:
        self._pictures = pictures
        self._kept: list[Tensor] = []
        self._first = 0

    def read(self, start: int, stop: int) -> Tensor:
        """Pictures [start, stop), `[N, 3, H, W]`; what lies before `start` is forgotten."""
        assert start >= self._first, f"picture {start} is forgotten"
        passed = min(start - self._first, len(self._kept))
        self._kept = self._kept[passed:]
        for _ in islice(self._pictures, start - self._first - passed):
            pass
        self._first = start
        self._kept += islice(self._pictures, stop - start - len(self._kept))
        assert len(self._kept) >= stop - start, f"{start + len(self._kept)} pictures, {stop} were promised"
        return torch.stack(self._kept[: stop - start])


def _per_latent(mask: Tensor) -> Tensor:
    """Mask pictures [4L-3, 3, H, W] in 0..1 to the union over each latent frame, uint8 [L, h, w]."""
    cells = F.avg_pool2d(mask.mean(dim=1), SPATIAL_STRIDE)
    padded = F.pad(cells, (0, 0, 0, 0, TEMPORAL_STRIDE - 1, 0))
    return (padded.unflatten(0, (-1, TEMPORAL_STRIDE)).amax(dim=1) * 255).round().to(torch.uint8)


def _stored(tensor: Tensor) -> Tensor:
    """Half precision halves the cache; float16 keeps latents eight times as exact as bfloat16 would."""
    return (tensor.half() if tensor.is_floating_point() else tensor).cpu().contiguous()


def _write(clips: Iterator[dict[str, Tensor]], place: Path, on_clip: Callable[[], object]) -> None:
    """One file for each clip, in a folder beside `place` that is renamed when it is complete."""
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=place.parent))
    try:
        for index, clip in enumerate(clips):
            safetensors.torch.save_file(clip, beside / f"{index:06d}.safetensors")
            on_clip()
        beside.rename(place)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _digest(bundle: Bundle, video: TrainingVideo, plan: ClipPlan) -> str:
    """SHA-256 over all that decides a video's clips."""
    config, entries = bundle.config.to_dict(), bundle.manifest.entries
    decisive = {
        "format": _FORMAT,
        "video": video.digest(),
        "plan": [plan.window, plan.hop],
        "config": {name: config[name] for name in ("vae", "audio", "clip", "window", "fps", "height", "width")},
        "reference_on": config["dit"]["reference_on"],
        "encoders": [entries[f"{name}.safetensors"].sha256 for name in _ENCODERS if f"{name}.safetensors" in entries],
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
