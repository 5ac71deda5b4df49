"""`avacast render --mode offline`: options become settings, and an interrupted rendering goes on to the same video."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from torch import Tensor

from avacast.engine.bundle import write_bundle
from avacast.engine.config import PromptsConfig
from avacast.engine.errors import BadSetting
from avacast.engine.guidance import Guidance
from avacast.engine.pipeline import Pipeline
from avacast.engine.whole_video import WholeVideo
from avacast.streaming.audio_file import AudioFile
from avacast.streaming.offline_render import OfflineOptions, render_offline, state_path, with_prompt
from avacast.streaming.render import render

AVACAST = Path(sys.executable).parent / "avacast"


@pytest.fixture(scope="module")
def pipeline(load_tiny: partial[Pipeline]) -> Pipeline:
    torch.set_num_threads(1)
    tiny = load_tiny(dtype=torch.float32)
    # Smaller pictures x264 reads beyond: at 64 the bytes of one video differ from run to run.
    config = replace(tiny.config, height=128, width=128, sampler=replace(tiny.config.sampler, num_steps=4))
    return Pipeline(config, tiny.networks)


@pytest.fixture
def speech(tmp_path: Path) -> AudioFile:
    path = tmp_path / "speech.wav"
    soundfile.write(path, 0.1 * np.random.default_rng(1).standard_normal(30_000), 22_050)
    return AudioFile.open(path)


def test_the_video_covers_the_sound(pipeline: Pipeline, picture: np.ndarray, speech: AudioFile, tmp_path: Path):
    """And nothing of the work stays beside it."""
    render_offline(pipeline, picture, speech, tmp_path / "out.mp4", OfflineOptions(), seed=0)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.audio[0].rate == 22_050
        assert len(list(container.decode(video=0))) == -(-speech.num_engine_samples // 640)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.mp4", "speech.wav"]


@pytest.mark.parametrize("step", [0, 2])
def test_interrupted_it_goes_on_after_the_last_whole_step(
    pipeline: Pipeline,
    picture: np.ndarray,
    speech: AudioFile,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
):
    """To the byte the video of an uninterrupted run, without repeating a step."""
    options = OfflineOptions(guidance="audio-native", alpha=0.5)
    render_offline(pipeline, picture, speech, tmp_path / "whole.mp4", options, seed=2)
    denoise, run = WholeVideo.denoise, []

    def interrupted(video: WholeVideo, latents: Tensor, at: int, *rest: object) -> Tensor:
        run.append(at)
        if at == step and run.count(at) == 1:
            raise KeyboardInterrupt
        return denoise(video, latents, at, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(WholeVideo, "denoise", interrupted)
    with pytest.raises(KeyboardInterrupt):
        render_offline(pipeline, picture, speech, tmp_path / "out.mp4", options, seed=2)
    assert not (tmp_path / "out.mp4").exists()
    assert state_path(tmp_path / "out.mp4").exists() == (step > 0)
    if step:
        with pytest.raises(BadSetting, match="unfinished rendering of another"):
            render_offline(pipeline, picture, speech, tmp_path / "out.mp4", options, seed=3)
    render_offline(pipeline, picture, speech, tmp_path / "out.mp4", options, seed=2)
    assert run == [*range(step + 1), *range(step, 4)]
    assert (tmp_path / "out.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()


def test_options_reach_the_model(pipeline: Pipeline):
    options = OfflineOptions(overlap_weights="uniform", size="832x480", steps=7)
    config = options.applied_to(pipeline).config
    assert (config.window.weights, config.width, config.height, config.sampler.num_steps) == ("uniform", 832, 480, 7)
    assert OfflineOptions().applied_to(pipeline).config == pipeline.config


def test_guidance_is_what_was_asked_for():
    """Where nothing was: cfg for a model that reads text, one plain pass for another."""
    assert OfflineOptions().guidance_for(reads_text=True) == Guidance.cfg(5, 3)
    assert OfflineOptions().guidance_for(reads_text=False) == Guidance.none()
    assert OfflineOptions(guidance="cfg", audio_scale=2).guidance_for(reads_text=False) == Guidance.cfg(
        2, 1, has_text=False
    )
    native = OfflineOptions(guidance="audio-native", alpha=2)
    assert native.guidance_for(reads_text=False) == Guidance.audio_native(2, 1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (OfflineOptions(guidance="cfg", text_scale=3), "reads no text"),
        (OfflineOptions(guidance="cfg", alpha=1), "--alpha means nothing to --guidance cfg"),
        (OfflineOptions(audio_scale=1), "--audio-scale means nothing to --guidance none"),
        (OfflineOptions(prompt="a person sings"), "reads no text; leave out --prompt"),
    ],
)
def test_what_the_model_cannot_follow_is_refused(
    pipeline: Pipeline, picture: np.ndarray, speech: AudioFile, tmp_path: Path, options: OfflineOptions, said: str
):
    with pytest.raises(BadSetting, match=said):
        render_offline(pipeline, picture, speech, tmp_path / "out.mp4", options, seed=0)


def test_offline_options_need_the_offline_mode(tmp_path: Path):
    with pytest.raises(BadSetting, match="--guidance, --steps needs --mode offline"):
        render("ada", tmp_path / "speech.wav", tmp_path / "out.mp4", guidance="none", steps=3)


def test_a_prompt_needs_the_source(pipeline: Pipeline):
    """A bundle holds what its prompts became, not what makes them."""
    config = pipeline.config
    dit = replace(config.dit, text_dim=8, text_len=4)
    reading = replace(config, dit=dit, prompts=PromptsConfig("a", "b"))
    with pytest.raises(BadSetting, match="--source"):
        with_prompt(Pipeline(reading, pipeline.networks), OfflineOptions(prompt="sing"))


def test_no_step_waits_for_the_disk(
    pipeline: Pipeline, picture: np.ndarray, speech: AudioFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A signal cannot interrupt such a wait, and on a busy disk it is long. Only the finished video is waited for."""
    waited: list[int] = []
    monkeypatch.setattr(os, "fsync", waited.append)
    render_offline(pipeline, picture, speech, tmp_path / "out.mp4", OfflineOptions(), seed=0)
    assert len(waited) == 1


@pytest.mark.timeout(400)
def test_ctrl_c_and_the_same_command_go_on(pipeline: Pipeline, speech: AudioFile, tmp_path: Path):
    """The installed command: interrupted it ends with 130 and leaves its state, repeated it leaves the video."""
    networks = pipeline.networks
    weights = {name: getattr(networks, name).state_dict() for name in ("dit", "vae", "speech_encoder")}
    write_bundle(tmp_path / "model", pipeline.config, weights)
    Image.new("RGB", (80, 64), (200, 120, 40)).save(tmp_path / "face.png")
    output = tmp_path / "out.mp4"
    command = [str(AVACAST), "render", str(tmp_path / "face.png"), str(speech.path), "-o", str(output)]
    command += ["--bundle", str(tmp_path / "model"), "--mode", "offline", "--threads", "1", "--steps"]
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    with subprocess.Popen([*command, "5000"], stderr=subprocess.PIPE, env=environment) as process:
        until = time.monotonic() + 90
        while not state_path(output).exists() and process.poll() is None:
            assert time.monotonic() < until
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=90)[1].decode()
    assert process.returncode == 130, said
    assert not output.exists()
    other = subprocess.run([*command, "2"], capture_output=True, text=True, check=False, env=environment, timeout=90)
    assert other.returncode == 2
    assert "unfinished rendering" in other.stderr
    state_path(output).unlink()
    subprocess.run([*command, "2"], check=True, capture_output=True, env=environment, timeout=90)
    assert output.exists()
    assert not state_path(output).exists()
