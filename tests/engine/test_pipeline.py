from __future__ import annotations

import importlib.resources
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from avacast.engine.bundle import embedded_bundle, load_bundle, write_bundle
from avacast.engine.config import ModelConfig, VAEConfig
from avacast.engine.errors import BadBundle, BadPortrait, BadSetting
from avacast.engine.networks import Networks
from avacast.engine.pipeline import Pipeline
from avacast.engine.portrait import Picture, load_portrait
from avacast.engine.sample_tail import Samples

PICTURE: Picture = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def first_frames(pipeline: Pipeline, sound: Samples) -> np.ndarray:
    session = pipeline.open_session(PICTURE)
    session.push(sound)
    return np.stack([frame.image for frame in session.pull()])


@pytest.fixture
def bundle(tiny_pipeline: Pipeline, tmp_path: Path) -> Path:
    networks = tiny_pipeline.networks
    names = ("dit", "vae", "speech_encoder")
    write_bundle(
        tmp_path / "tiny", tiny_pipeline.config, {name: getattr(networks, name).state_dict() for name in names}
    )
    return tmp_path / "tiny"


def test_a_bundle_gives_the_frames_of_the_networks_that_were_written(
    tiny_pipeline: Pipeline, bundle: Path, noise_3s: Samples
):
    loaded = Pipeline.load(bundle, dtype=torch.float32)
    assert asdict(loaded.config) == asdict(tiny_pipeline.config)
    assert np.array_equal(first_frames(loaded, noise_3s), first_frames(tiny_pipeline, noise_3s))


def write_released(pipeline: Pipeline, path: Path) -> Path:
    networks = pipeline.networks
    assert networks.text is not None
    names = ("dit", "vae", "speech_encoder", "clip", "live_vae")
    modules = {name: getattr(networks, name) for name in names}
    weights = {name: module.state_dict() for name, module in modules.items() if module is not None}
    weights["prompts"] = {"positive": networks.text.positive[0, :5], "negative": networks.text.negative[0, :3]}
    write_bundle(path, pipeline.config, weights)
    return path


def test_a_bundle_of_the_released_layout_gives_the_frames_of_its_networks(
    released_config: ModelConfig, tmp_path: Path, noise_3s: Samples
):
    """Also the text, which is stored without its padding, and an auto-encoder for live sessions."""
    live = VAEConfig(decoder_widths=(8, 8, 8, 8), encoder_width=8)
    written = Pipeline.with_random_weights(replace(released_config, live_vae=live), dtype=torch.float32)
    loaded = Pipeline.load(write_released(written, tmp_path / "model"), dtype=torch.float32)
    assert loaded.config == written.config
    text = loaded.networks.text
    assert text is not None
    assert written.networks.text is not None
    assert torch.equal(text.positive[0, :5], written.networks.text.positive[0, :5])
    assert not text.positive[0, 5:].any()
    same = Pipeline(written.config, replace(written.networks, text=text))
    assert np.array_equal(first_frames(loaded, noise_3s), first_frames(same, noise_3s))


def test_prompts_that_do_not_fit_are_refused(released_pipeline: Pipeline, tmp_path: Path):
    path = write_released(released_pipeline, tmp_path / "model")
    opened = load_bundle(path)
    names = ("dit", "vae", "speech_encoder", "clip")
    weights = {name: opened.tensors(name) for name in names} | {"prompts": {"positive": torch.zeros(99, 24)}}
    write_bundle(path, opened.config, weights)
    with pytest.raises(BadBundle, match=r"prompts\.safetensors must be positive and negative"):
        Pipeline.load(path)


def test_a_damaged_bundle_is_refused_in_one_line(bundle: Path):
    weights = bundle / "vae.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(BadBundle) as caught:
        Pipeline.load(bundle)
    assert "\n" not in str(caught.value)


def test_random_weights_are_equal_for_equal_seeds_and_leave_the_callers_generator_alone(
    tiny_config: ModelConfig, tiny_pipeline: Pipeline, noise_3s: Samples
):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    same = Pipeline.with_random_weights(tiny_config, dtype=torch.float32)
    assert torch.equal(torch.rand(1), expected)
    other = Pipeline.with_random_weights(tiny_config, seed=1, dtype=torch.float32)
    frames = first_frames(tiny_pipeline, noise_3s)
    assert np.array_equal(first_frames(same, noise_3s), frames)
    assert not np.array_equal(first_frames(other, noise_3s), frames)


def test_bfloat16_shows_nearly_what_float32_shows(tiny_config: ModelConfig, tiny_pipeline: Pipeline, noise_3s: Samples):
    coarse = Pipeline.with_random_weights(tiny_config, dtype=torch.bfloat16)
    difference = first_frames(coarse, noise_3s).astype(int) - first_frames(tiny_pipeline, noise_3s)
    assert 0 < np.abs(difference).mean() < 3


def test_says_what_it_runs(tiny_pipeline: Pipeline):
    assert tiny_pipeline.describe() == (
        "tiny: 64x64 at 25 fps, 2 steps, windows of 4 latent frames every 2, float32 on cpu"
    )


def test_an_unusable_picture_or_seed_is_refused(tiny_pipeline: Pipeline):
    with pytest.raises(BadPortrait, match="uint8"):
        tiny_pipeline.open_session(np.zeros((64, 64), np.uint8))
    with pytest.raises(BadSetting, match="-1"):
        tiny_pipeline.open_session(PICTURE, seed=-1)


def test_the_engine_imports_without_the_rooms_heavy_neighbours():
    """Training and export need the pipeline on machines without video, network or accelerator libraries."""
    program = (
        "import sys\n"
        "for name in ('diffusers', 'aiortc', 'av', 'tensorrt', 'fastapi'): sys.modules[name] = None\n"
        "import avacast.engine.pipeline, avacast.engine.offline\n"
    )
    subprocess.run([sys.executable, "-P", "-c", program], check=True, timeout=120)


def test_a_picture_unlike_those_that_the_model_draws_is_known_as_such():
    """The embedded model was made for drawn faces: one of them is familiar, noise is not; other models take all."""
    pocket = Pipeline.load(embedded_bundle())
    drawn = sorted(Path(str(importlib.resources.files("avacast.gallery"))).glob("*.png"))
    assert all(pocket.reference(load_portrait(path)).familiar for path in drawn[:3])
    assert not pocket.reference(PICTURE).familiar
    assert not pocket.open_session(PICTURE).familiar
    open_to_all = Pipeline(replace(pocket.config, familiar_psnr_db=None), pocket.networks)
    assert open_to_all.open_session(PICTURE).familiar


def test_a_session_encodes_and_draws_its_picture_once(monkeypatch: pytest.MonkeyPatch):
    """One drawing gives the frames' detail and says whether the picture is familiar: the first viewer waits less."""
    pocket = Pipeline.load(embedded_bundle())
    calls: list[str] = []
    encode, decode = Networks.encode, Networks.decode

    def counted_encode(self: Networks, frames: torch.Tensor) -> torch.Tensor:
        calls.append("encode")
        return encode(self, frames)

    def counted_decode(self: Networks, *arguments: Any) -> Any:
        calls.append("decode")
        return decode(self, *arguments)

    monkeypatch.setattr(Networks, "encode", counted_encode)
    monkeypatch.setattr(Networks, "decode", counted_decode)
    assert not pocket.open_session(PICTURE).familiar
    assert calls == ["encode", "decode"]


def test_frames_show_the_pictures_own_detail_where_the_model_asks_for_it(
    tiny_pipeline: Pipeline, noise_3s: Samples, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """Without OpenCV a line says so, and the frames are those of a model that does not ask."""
    asking = Pipeline(replace(tiny_pipeline.config, reference_detail=True), tiny_pipeline.networks)
    plain, detailed = first_frames(tiny_pipeline, noise_3s), first_frames(asking, noise_3s)
    assert detailed.shape == plain.shape
    assert not np.array_equal(detailed, plain)
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert np.array_equal(first_frames(asking, noise_3s), plain)
    assert "pip install opencv-python-headless" in caplog.text
