"""What the benchmarks' tests share: the pocket model made tiny, on disk too, and a clip whose face is painted."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from avacast.bench.held_out_clip import HeldOutClip, Spoken, Truth
from avacast.engine import measures
from avacast.engine.bundle import write_bundle
from avacast.engine.config import ModelConfig, VAEConfig
from avacast.engine.face_reading import FaceBoxes, read_face
from avacast.engine.pipeline import Pipeline
from avacast.engine.presets import POCKET

TINY = dataclasses.replace(
    POCKET,
    # Or untrained networks would show the portrait, whatever they are told.
    reference_detail=False,
    dit=dataclasses.replace(POCKET.dit, dim=32, ffn_dim=32, num_heads=2, num_layers=1, audio_num_heads=2),
    vae=VAEConfig(decoder_widths=(16, 8, 8, 8), encoder_width=8),
    height=64,
    width=64,
)
FPS = 25
BOXES = FaceBoxes(mouth=(40, 16, 60, 48), eyes=(8, 8, 20, 56), nose=(22, 16, 38, 48))
BLINKS = (15, 60, 100)
ROUND = range(34, 42)


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


class Painter(Protocol):
    """Frames uint8 [F, 64, 64, 3] of a face of skin, eyes, nose and a mouth that is open by [F] in 0..1.

    `alive`: it blinks at 15, 60 and 100, and the nose wanders; `rounds`: the mouth is narrow at ROUND; `teeth`: a wide
    mouth shows some.
    """

    def __call__(
        self, opening: NDArray[np.float64], *, alive: bool = True, rounds: bool = True, teeth: bool = True
    ) -> NDArray[np.uint8]: ...


@pytest.fixture(scope="session")
def paint() -> Painter:
    def painted(
        opening: NDArray[np.float64], *, alive: bool = True, rounds: bool = True, teeth: bool = True
    ) -> NDArray[np.uint8]:
        skin = np.array([200, 150, 120]) + np.random.default_rng(0).integers(-15, 15, (64, 64, 1))
        frames = np.repeat(skin[None], len(opening), axis=0)
        for index, (frame, share) in enumerate(zip(frames, opening, strict=True)):
            if not (alive and any(first <= index < first + 3 for first in BLINKS)):
                frame[10:16, 12:24] = frame[10:16, 40:52] = (245, 242, 238)
            nose = 30 + round(1.8 * np.sin(0.2 * index)) * alive
            frame[24:36, nose : nose + 4] = (110, 70, 60)
            side = 26 if rounds and index in ROUND else 20
            rows = round(12 * share)
            frame[46 : 46 + rows, side : 64 - side] = (60, 8, 8)
            if teeth and rows >= 5:
                frame[46:48, 28:36] = (230, 225, 215)
        return frames.astype(np.uint8)

    return painted


@pytest.fixture(scope="session")
def opening() -> NDArray[np.float64]:
    """120 frames: shut for 20, talking for 50, shut for 20 at frame 70, talking on."""
    track = np.convolve(np.random.default_rng(3).random(120), np.ones(4) / 4, "same")
    track[:20] = track[70:90] = track[[30, 50]] = 0.0
    return track


@pytest.fixture(scope="session")
def clip(paint: Painter, opening: NDArray[np.float64]) -> HeldOutClip:
    """A clip with bilabials where the painted mouth shuts, at frames 30 and 50, and noise for a voice."""
    frames, portrait = paint(opening), paint(np.zeros(1), alive=False)[0]
    still = measures.still_cells(frames, portrait)
    truth = Truth(
        reading=read_face(frames, portrait, BOXES),
        still_cells=still,
        face_box=(0, 0, 64, 64),
        still_difference=float(measures.frame_difference(frames, still).mean()),
        gradient_energy=measures.gradient_energy(frames, (0, 0, 64, 64)),
        colour_drift=measures.colour_drift(frames, FPS),
        colours=measures.mean_colours(frames),
    )
    voice = np.random.default_rng(4).standard_normal(120 * 640) * np.repeat(opening, 640)
    spans = [("a", 20, 30), ("p", 30, 31), ("a", 31, 34), ("ˈoʊ", 34, 42), ("a", 42, 50), ("b", 50, 51), ("a", 51, 56)]
    spans += [("iː", 56, 64), ("a", 64, 70), ("", 70, 90), ("a", 90, 120)]
    return HeldOutClip(
        name="painted",
        voice="noise",
        recorded=False,
        fps=FPS,
        seed=5,
        portrait=portrait,
        samples=(0.2 * voice).astype(np.float32),
        boxes=BOXES,
        eyes_closed=0.0,
        phonemes=tuple(Spoken(name, start / FPS, stop / FPS) for name, start, stop in spans),
        truth=truth,
    )
