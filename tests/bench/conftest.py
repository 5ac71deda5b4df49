"""What the benchmarks' tests share: the pocket model made tiny, on disk too, and a clip whose mouth is painted."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from avacast.bench.held_out_clip import HeldOutClip, Spoken, Truth
from avacast.engine import measures
from avacast.engine.bundle import write_bundle
from avacast.engine.config import POCKET, ModelConfig, VAEConfig
from avacast.engine.mouth import mouth_opening
from avacast.engine.pipeline import Pipeline

TINY = dataclasses.replace(
    POCKET,
    dit=dataclasses.replace(POCKET.dit, dim=32, ffn_dim=32, num_heads=2, num_layers=1, audio_num_heads=2),
    vae=VAEConfig(decoder_widths=(16, 8, 8, 8), encoder_width=8),
    height=64,
    width=64,
)
FPS = 25
BOX = (40, 16, 60, 48)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_config() -> ModelConfig:
    return TINY


@pytest.fixture(scope="session")
def tiny_pipeline() -> Pipeline:
    return Pipeline.with_random_weights(TINY)


@pytest.fixture(scope="session")
def tiny_bundle(tiny_pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    networks = tiny_pipeline.networks
    folder = tmp_path_factory.mktemp("model") / "tiny"
    parts = {"dit": networks.dit, "vae": networks.vae, "speech_encoder": networks.speech_encoder}
    write_bundle(folder, TINY, {name: part.state_dict() for name, part in parts.items()})
    return folder


@pytest.fixture(scope="session")
def paint() -> Callable[[NDArray[np.float64]], NDArray[np.uint8]]:
    """Frames uint8 [F, 64, 64, 3] of skin whose mouth is open by [F] in 0..1; nothing else moves."""

    def painted(opening: NDArray[np.float64]) -> NDArray[np.uint8]:
        skin = np.array([200, 150, 120]) + np.random.default_rng(0).integers(-15, 15, (64, 64, 1))
        frames = np.repeat(skin[None], len(opening), axis=0)
        for frame, share in zip(frames, opening, strict=True):
            frame[46 : 46 + round(12 * share), 20:44] = (60, 8, 8)
        return frames.astype(np.uint8)

    return painted


@pytest.fixture(scope="session")
def opening() -> NDArray[np.float64]:
    """120 frames: shut for 20, talking for 50, shut for 20 at frame 70, talking on."""
    track = np.convolve(np.random.default_rng(3).random(120), np.ones(4) / 4, "same")
    track[:20] = track[70:90] = track[[30, 50]] = 0.0
    return track


@pytest.fixture(scope="session")
def clip(paint: Callable[[NDArray[np.float64]], NDArray[np.uint8]], opening: NDArray[np.float64]) -> HeldOutClip:
    """A clip with bilabials where the painted mouth shuts, at frames 30 and 50, and noise for a voice."""
    frames, portrait = paint(opening), paint(np.zeros(1))[0]
    still = measures.still_cells(frames, portrait)
    truth = Truth(
        mouth_reading=mouth_opening(frames, BOX),
        still_cells=still,
        face_box=(0, 0, 64, 64),
        frame_difference=measures.frame_difference(frames),
        still_difference=float(measures.frame_difference(frames, still).mean()),
        gradient_energy=measures.gradient_energy(frames, (0, 0, 64, 64)),
        colour_drift=measures.colour_drift(frames, FPS),
    )
    voice = np.random.default_rng(4).standard_normal(120 * 640) * np.repeat(opening, 640)
    spans = [("a", 20, 30), ("p", 30, 31), ("a", 31, 50), ("b", 50, 51), ("a", 51, 70), ("", 70, 90), ("a", 90, 120)]
    phonemes = tuple(Spoken(name, start / FPS, stop / FPS) for name, start, stop in spans)
    return HeldOutClip("painted", "noise", FPS, portrait, (0.2 * voice).astype(np.float32), BOX, phonemes, truth)
