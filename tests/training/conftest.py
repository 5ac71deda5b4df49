"""What fine-tuning is tested on: tiny bundles of both kinds, and videos that are written on the spot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from avacast.engine.bundle import write_bundle
from avacast.engine.config import AudioConfig, ClipConfig, DiTConfig, ModelConfig, PromptsConfig, VAEConfig
from avacast.engine.networks import Networks
from avacast.engine.presets import POCKET
from avacast.engine.profile import SamplerConfig, WindowConfig

SIZE = 32


@pytest.fixture(scope="session")
def audio() -> AudioConfig:
    """The pocket's speech encoder, narrowed until a step costs nothing."""
    narrow = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "conv_dim": [8] * 6 + [32]}
    narrow |= {"num_attention_heads": 2, "num_conv_pos_embedding_groups": 2}
    return replace(POCKET.audio, wav2vec2={**POCKET.audio.wav2vec2, **narrow})


@dataclass(frozen=True)
class VideoWriter:
    """Writes a small video: moving stripes, and a sound that is not silent."""

    rate_hz: int = 44_100
    channels: int = 2
    codec: str = "libx264"
    sound_codec: str | None = "aac"
    sound_delay_s: float = 0.0

    def __call__(self, path: Path, num_frames: int = 30, *, fps: int = 25, size: tuple[int, int] = (40, 48)) -> Path:
        rng = np.random.default_rng(num_frames)
        sound = 0.3 * rng.standard_normal(round(num_frames / fps * self.rate_hz))
        return self.write(path, stripes(num_frames, size), sound.astype(np.float32), fps=fps)

    def write(self, path: Path, frames: NDArray[np.uint8], sound: NDArray[np.float32], *, fps: int = 25) -> Path:
        """`frames` [T, H, W, 3]; `sound` [N] at `rate_hz`, the same on all channels."""
        with av.open(str(path), "w") as container:
            video = container.add_stream(self.codec, rate=fps)
            video.height, video.width, video.pix_fmt = *frames.shape[1:3], "yuv420p"
            audio = container.add_stream(self.sound_codec, rate=self.rate_hz) if self.sound_codec else None
            if audio is not None:
                audio.layout = "stereo" if self.channels == 2 else "mono"
            for index, picture in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, fps)
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
            if audio is not None:
                planes = np.ascontiguousarray(np.broadcast_to(sound, (self.channels, len(sound))))
                block = av.AudioFrame.from_ndarray(planes, format="fltp", layout=audio.layout.name)
                block.sample_rate, block.time_base = self.rate_hz, Fraction(1, self.rate_hz)
                block.pts = round(self.sound_delay_s * self.rate_hz)
                container.mux(audio.encode(block))
                container.mux(audio.encode(None))
        return path


def stripes(num_frames: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Soft coloured stripes that wander, uint8 [T, H, W, 3]."""
    height, width = size
    time, row, column, colour = np.ogrid[:num_frames, :height, :width, :3]
    wave = np.sin(0.3 * time + 0.2 * column + 0.1 * row + 2.0 * colour)
    return (127 + 100 * wave).astype(np.uint8)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def write_video() -> VideoWriter:
    return VideoWriter()


SPEECH = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}

RELEASED = ModelConfig(
    name="tiny-released",
    dit=DiTConfig(
        dim=16,
        ffn_dim=32,
        num_heads=2,
        num_layers=1,
        freq_dim=16,
        text_dim=12,
        text_len=8,
        clip_dim=16,
        audio_in_dim=16,
        audio_num_heads=2,
        audio_num_layers=1,
    ),
    vae=VAEConfig(kind="wan", base_dim=4),
    clip=ClipConfig(image_size=28, dim=16, mlp_dim=32, num_heads=2, num_layers=3),
    prompts=PromptsConfig("talk", "blur"),
    audio=AudioConfig(wav2vec2=SPEECH),
    sampler=SamplerConfig(num_steps=2),
    window=WindowConfig(window=3, overlap=1),
    height=SIZE,
    width=SIZE,
)
"""The released model's every part, each as small as it goes."""

SMALL_POCKET = replace(
    POCKET,
    name="tiny-pocket",
    dit=replace(POCKET.dit, dim=16, ffn_dim=32, num_heads=2, num_layers=1, freq_dim=16, audio_in_dim=16),
    vae=VAEConfig(decoder_widths=(8, 8, 8, 8), encoder_width=8),
    audio=replace(POCKET.audio, wav2vec2={**POCKET.audio.wav2vec2, **SPEECH, "num_conv_pos_embeddings": 15}),
    window=WindowConfig(window=3, overlap=1, ramp="open", fuse_first_step=True),
    height=SIZE,
    width=SIZE,
)


def write_random_bundle(path: Path, config: ModelConfig) -> Path:
    """An untrained model of that configuration, on disk."""
    torch.manual_seed(0)
    networks = Networks.build(config)
    # Training starts from a head of zeros, behind which no adapter would make a difference.
    torch.nn.init.xavier_uniform_(networks.dit.head.head.weight)
    states = {
        "dit": networks.dit.state_dict(),
        "vae": networks.vae.state_dict(),
        "speech_encoder": networks.speech_encoder.state_dict(),
    }
    if networks.clip is not None:
        states["clip"] = networks.clip.state_dict()
    if networks.text is not None:
        states["prompts"] = {"positive": networks.text.positive[0], "negative": networks.text.negative[0, :3]}
    write_bundle(path, config, states)
    return path


@pytest.fixture(scope="session")
def released_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_bundle(tmp_path_factory.mktemp("released") / "bundle", RELEASED)


@pytest.fixture(scope="session")
def pocket_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_bundle(tmp_path_factory.mktemp("pocket") / "bundle", SMALL_POCKET)


@pytest.fixture
def write_mask(write_video: VideoWriter) -> Callable[..., Path]:
    """Writes a mask video whose right half is white."""

    def write(path: Path, num_frames: int, size: tuple[int, int] = (40, 48)) -> Path:
        frames = np.zeros((num_frames, *size, 3), np.uint8)
        frames[:, :, size[1] // 2 :] = 255
        return replace(write_video, sound_codec=None).write(path, frames, np.zeros(0, np.float32))

    return write
