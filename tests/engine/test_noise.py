from __future__ import annotations

import torch

from avacast.engine.noise import frame_noise, window_noise

SHAPE = (4, 16, 16)


def test_overlapping_windows_share_the_noise_of_a_latent_frame():
    first, second = window_noise(5, 0, 6, SHAPE), window_noise(5, 4, 10, SHAPE)
    assert first.shape == (4, 6, 16, 16)
    assert torch.equal(first[:, 4:], second[:, :2])


def test_the_seed_and_the_frame_decide_and_nothing_else():
    torch.manual_seed(1)
    once = frame_noise(3, 1_000_000, SHAPE)
    torch.manual_seed(2)
    assert torch.equal(frame_noise(3, 1_000_000, SHAPE), once)
    assert not torch.equal(frame_noise(4, 1_000_000, SHAPE), once)
    assert not torch.equal(frame_noise(3, 1_000_001, SHAPE), once)


def test_frames_and_seeds_are_independent_unit_normal():
    noise = torch.stack([frame_noise(seed, frame, SHAPE) for seed in range(8) for frame in range(8)]).flatten(1)
    assert abs(noise.mean()) < 0.01
    assert abs(noise.std() - 1) < 0.01
    correlation = torch.corrcoef(noise) - torch.eye(64)
    assert correlation.abs().max() < 0.15  # 1024 samples each: five standard errors
