from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from avacast.engine.flow_matching import Schedule
from avacast.engine.offline import offline_loop
from avacast.engine.profile import WindowConfig


def test_the_loop_is_the_released_one(windows_golden: Path):
    """Noise, waveform and a synthetic network in; the released loop's latent video out, to float32 precision."""
    golden = json.loads(windows_golden.read_text())
    tensors = load_file(windows_golden.with_suffix(".safetensors"))
    num_latents, window = golden["latent_frames"], golden["window_latents"]
    samples_per_latent = 4 * (golden["sample_rate"] // golden["fps"])

    def velocity(latents: Tensor, step: int, start: int) -> Tensor:
        assert 0 <= step < golden["steps"]
        length = latents.shape[2]
        stop = None if start + length == num_latents else samples_per_latent * (start + length)
        loudness = 2 * tensors["audio"][samples_per_latent * start : stop].mean()
        mask = torch.zeros(1, 1, length, 1, 1)
        mask[:, :, 0] = 1
        silent = torch.tanh(latents) - 0.5 * latents.mean(dim=2, keepdim=True) + 0.1 * mask
        heard = silent + loudness
        prompted = heard + 0.05
        return silent + golden["audio_scale"] * (heard - silent) + golden["text_scale"] * (prompted - heard)

    schedule = Schedule.create(golden["steps"], 5.0)
    torch.testing.assert_close(schedule.sigmas, tensors["sigmas"], rtol=1e-6, atol=0)
    config = WindowConfig(window=window, overlap=golden["overlap"], weights=golden["scheme"])
    final = offline_loop(tensors["init"], schedule, config, velocity)
    error = (final - tensors["final"]).norm() / tensors["final"].norm()
    print(f"{windows_golden.stem}: relative error {error:.2e}")
    assert error <= 1e-6
