"""A portrait and a voice become an MP4 whose sound and pictures cover the same time, or nothing at all."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch

from avacast.engine.config import ModelConfig, VAEConfig
from avacast.engine.errors import BadAudio, BadSetting
from avacast.engine.pipeline import Pipeline
from avacast.engine.presets import POCKET
from avacast.engine.voice import Voice
from avacast.streaming.audio_file import AudioBlock, AudioFile
from avacast.streaming.render import write_video
from avacast.streaming.say import SpokenSound
from avacast.streaming.video_file import VideoFile

SIDE_PX = 128
"""Smaller pictures x264 reads beyond: at 64 the bytes of one video differ from run to run."""

PICTURE = np.full((SIDE_PX, SIDE_PX, 3), (200, 120, 40), np.uint8)


def tiny_config() -> ModelConfig:
    """The pocket model's shape, small enough for a test."""
    wav2vec2 = dict(POCKET.audio.wav2vec2, hidden_size=32, num_hidden_layers=1, num_attention_heads=2)
    wav2vec2 |= {"intermediate_size": 32, "conv_dim": [8] * 7, "num_conv_pos_embedding_groups": 2}
    dit = {"dim": 32, "ffn_dim": 32, "num_heads": 2, "num_layers": 1, "audio_in_dim": 32, "audio_num_heads": 2}
    return dataclasses.replace(
        POCKET,
        name="tiny",
        # Or untrained networks would show the portrait, in whatever profile.
        reference_detail=False,
        height=SIDE_PX,
        width=SIDE_PX,
        dit=dataclasses.replace(POCKET.dit, **dit),
        vae=VAEConfig(decoder_widths=(8, 8, 8, 8), encoder_width=8),
        audio=dataclasses.replace(POCKET.audio, wav2vec2=wav2vec2),
    )


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    torch.set_num_threads(1)
    return Pipeline.with_random_weights(tiny_config(), dtype=torch.float32)


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """Three and a bit seconds that are no whole number of frames."""
    rng = np.random.default_rng(1)
    path = tmp_path / "speech.wav"
    soundfile.write(path, 0.1 * rng.standard_normal(3 * 22_050 + 123), 22_050)
    return path


def test_the_video_covers_the_sound_to_the_frame(pipeline: Pipeline, speech: Path, tmp_path: Path):
    frames_done: list[int] = []
    sound = AudioFile.open(speech)
    write_video(pipeline, PICTURE, sound, tmp_path / "out.mp4", on_frame=lambda: frames_done.append(1))
    with av.open(str(tmp_path / "out.mp4")) as container:
        video, track = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, video.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (video.width, video.height, video.average_rate) == (SIDE_PX, SIDE_PX, 25)
        assert (track.codec_context.name, track.rate, track.channels) == ("aac", 22_050, 1)
        times = [frame.time for frame in container.decode(video)]
    assert len(times) == len(frames_done) == -(-sound.num_engine_samples // 640)
    np.testing.assert_allclose(times, np.arange(len(times)) / 25, atol=1e-3)
    heard = AudioFile.open(tmp_path / "out.mp4")
    assert heard.duration_s == pytest.approx(sound.duration_s, abs=0.06)


def test_the_sound_track_is_the_sound_in_time(pipeline: Pipeline, speech: Path, tmp_path: Path):
    write_video(pipeline, PICTURE, AudioFile.open(speech), tmp_path / "out.mp4")
    sent = np.concatenate([block.engine for block in AudioFile.open(speech).blocks()])
    received = np.concatenate([block.engine for block in AudioFile.open(tmp_path / "out.mp4").blocks()])
    n = min(len(sent), len(received))
    correlation = np.fft.irfft(np.fft.rfft(received[:n]) * np.conj(np.fft.rfft(sent[:n])))
    lag = int(np.argmax(correlation))
    assert min(lag, n - lag) <= 16, "a millisecond"


def test_the_file_shows_the_sessions_frames_in_their_colours(pipeline: Pipeline, speech: Path, tmp_path: Path):
    write_video(pipeline, PICTURE, AudioFile.open(speech), tmp_path / "out.mp4", seed=3)
    session = pipeline.open_session(PICTURE, seed=3, profile="offline")
    for block in AudioFile.open(speech).blocks():
        session.push(block.engine)
    session.flush()
    expected = [frame.image for frames in iter(session.pull, []) for frame in frames]
    with av.open(str(tmp_path / "out.mp4")) as container:
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(shown) == len(expected)
    mean_colour = np.stack(shown).mean(axis=(1, 2)) - np.stack(expected).mean(axis=(1, 2))
    assert np.abs(mean_colour).max() < 6


def test_equal_seeds_make_equal_files(pipeline: Pipeline, speech: Path, tmp_path: Path):
    for name in ("one", "two"):
        write_video(pipeline, PICTURE, AudioFile.open(speech), tmp_path / f"{name}.mp4", seed=5)
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()


def test_a_file_is_made_with_look_ahead_unless_asked_otherwise(pipeline: Pipeline, speech: Path, tmp_path: Path):
    """`offline` is what nobody names, and is other frames than `mic`."""
    for name, chosen in (("default", {}), ("offline", {"profile": "offline"}), ("mic", {"profile": "mic"})):
        write_video(pipeline, PICTURE, AudioFile.open(speech), tmp_path / f"{name}.mp4", **chosen)
    default, offline, mic = ((tmp_path / f"{name}.mp4").read_bytes() for name in ("default", "offline", "mic"))
    assert default == offline != mic


class BreaksOff:
    """A sound that fails while it is read, as a file on a vanishing disk does."""

    heard_rate_hz = 16_000
    num_channels = 1
    num_engine_samples = 160_000

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def blocks(self) -> Iterator[AudioBlock]:
        yield AudioBlock(np.zeros(16_000, np.float32), np.zeros((1, 16_000), np.float32))
        raise self._error


@pytest.mark.parametrize("error", [BadAudio("gone"), KeyboardInterrupt(), SystemExit(143)])
def test_whatever_goes_wrong_leaves_nothing_and_keeps_an_older_file(
    pipeline: Pipeline, tmp_path: Path, error: BaseException
):
    (tmp_path / "out.mp4").write_bytes(b"an older video")
    with pytest.raises(type(error)):
        write_video(pipeline, PICTURE, BreaksOff(error), tmp_path / "out.mp4")
    assert [file.name for file in tmp_path.iterdir()] == ["out.mp4"]
    assert (tmp_path / "out.mp4").read_bytes() == b"an older video"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("out.avi", "must end in .mp4"),
        ("no/out.mp4", "there is no folder"),
        ("", "is a folder; add a file name"),
        pytest.param("/proc/fs/out.mp4", "cannot be written to", id="read-only"),
    ],
)
def test_an_output_that_cannot_be_is_refused(tmp_path: Path, name: str, said: str):
    file = VideoFile(tmp_path / name, height=64, width=64, fps=25, sample_rate_hz=16_000, num_channels=1)
    with pytest.raises(BadSetting, match=said), file:
        pytest.fail("the file was opened")


def test_a_stereo_track_stays_stereo(tmp_path: Path):
    with VideoFile(
        tmp_path / "out.mp4", height=SIDE_PX, width=SIDE_PX, fps=25, sample_rate_hz=44_100, num_channels=2
    ) as file:
        for _ in range(25):
            file.write_frame(PICTURE)
            file.write_sound(np.stack([np.full(1764, 0.5, np.float32), np.zeros(1764, np.float32)]))
    sound = AudioFile.open(tmp_path / "out.mp4")
    heard = np.concatenate([block.heard for block in sound.blocks()], axis=1)
    assert sound.num_channels == 2
    assert np.abs(heard[0]).mean() > 10 * np.abs(heard[1]).mean()


def test_speech_is_heard_in_full_band_and_ends_in_silence():
    speech = Voice().speak("Hello.")
    sound = SpokenSound.of(speech)
    blocks = list(sound.blocks())
    assert sound.heard_rate_hz == speech.sample_rate_hz
    heard = np.concatenate([block.heard for block in blocks], axis=1)[0]
    np.testing.assert_array_equal(heard[: len(speech.samples)], speech.samples)
    assert not heard[len(speech.samples) :].any()
    assert sum(len(block.engine) for block in blocks) == sound.num_engine_samples
    assert sound.num_engine_samples / 16_000 == pytest.approx(len(heard) / sound.heard_rate_hz, abs=1e-3)
