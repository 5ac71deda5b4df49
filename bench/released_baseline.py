"""The released way of doing it, measured in the same run: what the pipeline's speed is a multiple of.

Every step of every window hears the window's sound through wav2vec2 again and runs eagerly; all frames are decoded at
the end, one latent frame at a time; the defaults are many steps and three branches of guidance. Layers are our own, so
that the ratio is the loop's and not the layers'.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from avacast.bench.decoding import first_past
from avacast.bench.device_timer import Deadline, seconds_of
from avacast.bench.workbench import Workbench
from avacast.engine.audio_split import window_split
from avacast.engine.config import TEMPORAL_STRIDE
from avacast.engine.guidance import Conditioning, Guidance
from avacast.engine.profile import WindowConfig
from avacast.engine.wan_vae import WanDecoderState
from avacast.engine.windows import frames_of_latents

RELEASED_GUIDANCE = Guidance.cfg(5.0, 3.0)
"""Three branches; how strongly they are weighed costs nothing."""


def released_baseline(bench: Workbench, figures: dict[str, Any], deadline: Deadline) -> None:
    """Fills in `decode_ms`, and `equal` (our window, steps and one branch) and `defaults` (the released ones).

    One step of a window is timed; a window is its number of steps times that, and the decoding of its new latents.
    """
    config = bench.config
    with torch.inference_mode():
        figures["decode_ms"] = 1000 * _decode_s(bench)
        figures["equal"] = _measure(bench, config.window, config.sampler.num_steps, Guidance.none(), figures)
        if not deadline.passed:
            workload = bench.workload
            figures["defaults"] = _measure(
                bench, workload.released_window, workload.released_steps, RELEASED_GUIDANCE, figures
            )
    figures["extrapolated"] = "from one step of one window and one decoded latent frame"


def _measure(
    bench: Workbench, window: WindowConfig, num_steps: int, guidance: Guidance, figures: dict[str, Any]
) -> dict[str, Any]:
    step_s = seconds_of(_released_step(bench, window, guidance), bench.device)
    window_s = num_steps * step_s + window.hop * figures["decode_ms"] / 1000
    return {
        "window": window.window,
        "overlap": window.overlap,
        "num_steps": num_steps,
        "num_branches": len(guidance.branches),
        "step_ms": 1000 * step_s,
        "frames_per_s": TEMPORAL_STRIDE * window.hop / window_s,
    }


def _released_step(bench: Workbench, window: WindowConfig, guidance: Guidance) -> Callable[[], Tensor]:
    """One step of one window: its sound is encoded and split, then the transformer runs every branch."""
    config, networks = bench.config, bench.networks
    size, frames = (config.height, config.width), window.window
    given = bench.conditions(*size, frames)
    negative = None if "text" not in given else bench.random(*given["text"].shape)
    waveform = torch.randn(1, bench.num_samples(frames), device=bench.device)
    index, _ = window_split(bench.num_tokens(frames), frames_of_latents(frames), config.audio.margin)
    index = index.to(bench.device)
    latents, moment = bench.noise(*size, frames), torch.full((), 0.5, device=bench.device)

    def step() -> Tensor:
        audio = networks.speech_encoder(waveform)[:, index].to(bench.dtype)
        conditions = Conditioning(**{**given, "audio": audio}, negative_text=negative)
        return networks.guided_velocity(guidance, latents, moment, 1000 * moment, conditions)

    return step


def _decode_s(bench: Workbench) -> float:
    """Seconds to decode one latent frame eagerly."""
    latent = bench.noise(bench.config.height, bench.config.width, 1).to(bench.dtype)
    state = WanDecoderState(first_past(bench.networks.vae, latent))
    vae: Any = bench.networks.vae
    return seconds_of(lambda: vae.decode_step(latent, state), bench.device)
