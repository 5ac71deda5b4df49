"""The whole-video loop with the engine's own networks: what a session shows, guided, in any number of sittings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from avacast.engine.config import ModelConfig
from avacast.engine.dit import DiT
from avacast.engine.errors import BadAudio, BadSetting
from avacast.engine.guidance import Guidance
from avacast.engine.pipeline import Pipeline
from avacast.engine.portrait import Picture
from avacast.engine.sample_tail import Samples
from avacast.engine.whole_video import WholeVideo

PICTURE: Picture = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def finished(video: WholeVideo) -> Tensor:
    latents = video.noise()
    for step in range(video.num_steps):
        latents = video.denoise(latents, step)
    return latents


@pytest.mark.parametrize("num_samples", [1, 20_000, 48_000])
def test_with_one_step_it_shows_what_a_session_shows(tiny_config: ModelConfig, noise_3s: Samples, num_samples: int):
    """Live and offline use the same forward; with one step no window hears of a later one."""
    config = replace(tiny_config, sampler=replace(tiny_config.sampler, num_steps=1))
    pipeline = Pipeline.with_random_weights(config, dtype=torch.float32)
    video = WholeVideo(pipeline, PICTURE, noise_3s[:num_samples])
    session = pipeline.open_session(PICTURE)
    session.push(noise_3s[:num_samples])
    session.flush()
    live = [frame.image for frames in iter(session.pull, []) for frame in frames]
    shown = list(video.frames(finished(video)))
    assert len(shown) == len(live) == video.num_frames
    assert np.abs(np.stack(shown).astype(int) - np.stack(live)).max() <= 1


@pytest.mark.parametrize("scheme", ["log", "uniform", "fixed"])
def test_every_kind_of_weights_and_guidance_runs_on_the_released_model(
    released_pipeline: Pipeline, noise_3s: Samples, scheme: str
):
    """And each of them changes the video."""
    config = released_pipeline.config
    window = replace(config.window, weights=scheme)
    pipeline = Pipeline(replace(config, window=window), released_pipeline.networks)
    plain = finished(WholeVideo(pipeline, PICTURE, noise_3s[:30_000]))
    for guidance in (Guidance.cfg(3, 2), Guidance.audio_native(1, 1)):
        guided = finished(WholeVideo(pipeline, PICTURE, noise_3s[:30_000], guidance))
        assert guided.isfinite().all()
        assert not torch.allclose(guided, plain)


def test_a_pass_runs_only_the_branches_that_the_scales_need(
    released_pipeline: Pipeline, noise_3s: Samples, monkeypatch: pytest.MonkeyPatch
):
    """All of them in one batch."""
    batches: list[int] = []
    denoise = DiT.denoise

    def counted(dit: DiT, latents: Tensor, *rest: object) -> Tensor:
        batches.append(latents.shape[0])
        return denoise(dit, latents, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(DiT, "denoise", counted)
    for guidance, num_branches in (
        (Guidance.none(), 1),
        (Guidance.cfg(1, 1), 1),
        (Guidance.cfg(3, 2), 3),
        (Guidance.cfg(3, 3), 2),
        (Guidance.audio_native(0, 0), 1),
        (Guidance.audio_native(1, 0), 2),
        (Guidance.audio_native(1, 1), 3),
    ):
        batches.clear()
        video = WholeVideo(released_pipeline, PICTURE, noise_3s[:9_000], guidance)
        video.denoise(video.noise(), 0)
        assert batches == [num_branches] * video.num_windows, guidance


def test_the_offline_video_is_decoded_by_the_full_auto_encoder(released_pipeline: Pipeline, noise_3s: Samples):
    networks = released_pipeline.networks
    live = Pipeline(
        released_pipeline.config,
        replace(
            networks,
            live_vae=Pipeline.with_random_weights(released_pipeline.config, 5, dtype=torch.float32).networks.vae,
        ),
    )
    latents = torch.randn(1, 16, 3, 8, 8)
    expected = list(WholeVideo(released_pipeline, PICTURE, noise_3s[:5_000]).frames(latents))
    assert np.array_equal(np.stack(list(WholeVideo(live, PICTURE, noise_3s[:5_000]).frames(latents))), expected)


def test_whatever_decides_the_video_is_in_the_fingerprint(tiny_pipeline: Pipeline, noise_3s: Samples):
    config, networks = tiny_pipeline.config, tiny_pipeline.networks
    other_size = Pipeline(replace(config, width=128), networks)
    other_model = Pipeline.with_random_weights(config, 3, dtype=torch.float32)
    videos = [
        WholeVideo(tiny_pipeline, PICTURE, noise_3s),
        WholeVideo(tiny_pipeline, 255 - PICTURE, noise_3s),
        WholeVideo(tiny_pipeline, PICTURE, -noise_3s),
        WholeVideo(tiny_pipeline, PICTURE, noise_3s, seed=1),
        WholeVideo(tiny_pipeline, PICTURE, noise_3s, Guidance.audio_native(1, 0)),
        WholeVideo(other_size, PICTURE, noise_3s),
        WholeVideo(other_model, PICTURE, noise_3s),
    ]
    assert len({video.fingerprint for video in videos}) == len(videos)
    assert WholeVideo(tiny_pipeline, PICTURE.copy(), noise_3s).fingerprint == videos[0].fingerprint


def test_no_sound_and_a_negative_seed_are_refused(tiny_pipeline: Pipeline, noise_3s: Samples):
    with pytest.raises(BadAudio, match="no sound"):
        WholeVideo(tiny_pipeline, PICTURE, noise_3s[:0])
    with pytest.raises(BadSetting, match="-1"):
        WholeVideo(tiny_pipeline, PICTURE, noise_3s, seed=-1)
