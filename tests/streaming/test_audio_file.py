"""A sound file becomes blocks for the engine and for the ear, or is refused in one line before any work is done."""

import resource
import struct
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from avacast.engine.errors import BadAudio
from avacast.streaming.audio_file import AudioFile
from avacast.streaming.truncation import is_cut_short, states_length

CODECS = {"wav": "pcm_s16le", "flac": "flac", "mp3": "libmp3lame", "ogg": "vorbis", "m4a": "aac"}


def tone(duration_s: float, rate_hz: int) -> NDArray[np.float32]:
    return (0.5 * np.sin(2 * np.pi * 440 * np.arange(round(duration_s * rate_hz)) / rate_hz)).astype(np.float32)


def write_sound(path: Path, samples: NDArray[np.float32], rate_hz: int, num_channels: int = 1) -> Path:
    """Encodes `samples` [N], the same in every channel, in the format that the suffix names."""
    if path.suffix == ".ogg":
        soundfile.write(path, np.tile(samples, (num_channels, 1)).T, rate_hz)
        return path
    container_format = {"m4a": "ipod"}.get(path.suffix[1:])
    with av.open(str(path), "w", format=container_format) as container:
        stream = container.add_stream(CODECS[path.suffix[1:]], rate=rate_hz)
        stream.layout = "mono" if num_channels == 1 else "stereo"
        frame = av.AudioFrame.from_ndarray(np.tile(samples, (num_channels, 1)), "fltp", stream.layout.name)
        frame.sample_rate, frame.pts, frame.time_base = rate_hz, 0, Fraction(1, rate_hz)
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return path


def read(file: AudioFile) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    blocks = list(file.blocks())
    return np.concatenate([b.engine for b in blocks]), np.concatenate([b.heard for b in blocks], axis=1)


def refusal(path: Path) -> str:
    with pytest.raises(BadAudio) as caught:
        AudioFile.open(path)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    return text


@pytest.mark.parametrize("suffix", CODECS)
@pytest.mark.parametrize("num_channels", [1, 2])
def test_every_format_is_heard_as_it_was_recorded(tmp_path: Path, suffix: str, num_channels: int):
    samples = tone(2.0, 44_100)
    file = AudioFile.open(write_sound(tmp_path / f"tone.{suffix}", samples, 44_100, num_channels))
    assert (file.heard_rate_hz, file.num_channels) == (44_100, num_channels)
    assert file.duration_s == pytest.approx(2.0, abs=0.06)
    engine, heard = read(file)
    assert engine.dtype == heard.dtype == np.float32
    assert len(engine) == file.num_engine_samples
    assert heard.shape[0] == num_channels
    assert heard.shape[1] / 44_100 == pytest.approx(len(engine) / 16_000, abs=1e-3)
    # A sine of amplitude 0.5, at 440 Hz in the resampled stream too; LAME scales by 0.95 on purpose.
    assert np.sqrt(np.mean(engine[1000:-1000] ** 2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.06)
    peak_hz = np.argmax(np.abs(np.fft.rfft(engine[:16_000]))) * 1.0
    assert peak_hz == pytest.approx(440, abs=1)


def test_sound_at_the_engines_own_rate_passes_unchanged(tmp_path: Path):
    samples = tone(0.5, 16_000)
    engine, heard = read(AudioFile.open(write_sound(tmp_path / "tone.flac", samples, 16_000)))
    np.testing.assert_allclose(engine, samples, atol=1e-4)
    np.testing.assert_array_equal(engine, heard[0])


def test_a_rate_that_no_sound_track_has_is_heard_at_48_khz(tmp_path: Path):
    file = AudioFile.open(write_sound(tmp_path / "tone.wav", tone(0.5, 96_000), 96_000))
    assert file.heard_rate_hz == 48_000
    assert read(file)[1].shape == (1, 24_000)


def test_stereo_is_mixed_by_the_mean_and_wider_sound_into_one_channel(tmp_path: Path):
    left, right = tone(0.5, 16_000), np.zeros(8_000, np.float32)
    soundfile.write(tmp_path / "stereo.wav", np.stack([left, right], axis=1), 16_000)
    engine, heard = read(AudioFile.open(tmp_path / "stereo.wav"))
    np.testing.assert_allclose(engine, left / 2, atol=1e-4)
    np.testing.assert_allclose(heard, [left, right], atol=1e-4)
    soundfile.write(tmp_path / "wide.wav", np.stack([left, *[right] * 5], axis=1), 16_000)
    engine, heard = read(AudioFile.open(tmp_path / "wide.wav"))
    np.testing.assert_allclose(engine, left / 6, atol=1e-4)
    assert heard.shape == (1, 8_000)


def test_samples_beyond_full_scale_are_clipped(tmp_path: Path):
    soundfile.write(tmp_path / "loud.wav", 4 * tone(0.5, 16_000), 16_000, subtype="FLOAT")
    engine, heard = read(AudioFile.open(tmp_path / "loud.wav"))
    assert np.abs(engine).max() == np.abs(heard).max() == 1.0


def test_three_hours_are_read_at_constant_memory(tmp_path: Path):
    path = tmp_path / "long.wav"
    num_bytes = 3 * 3600 * 8_000 * 2
    fmt = struct.pack("<IHHIIHH", 16, 1, 1, 8_000, 16_000, 2, 16)
    header = struct.pack("<4sI8s", b"RIFF", 36 + num_bytes, b"WAVEfmt ") + fmt + struct.pack("<4sI", b"data", num_bytes)
    with path.open("wb") as stream:
        stream.write(header)
        stream.truncate(44 + num_bytes)
    AudioFile.open(write_sound(tmp_path / "short.wav", tone(1.0, 8_000), 8_000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert AudioFile.open(path).duration_s == pytest.approx(3 * 3600, abs=0.01)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000, "kilobytes"


def test_a_missing_or_empty_file_and_a_folder_are_refused(tmp_path: Path):
    assert "there is no sound file" in refusal(tmp_path / "nowhere.wav")
    (tmp_path / "empty.wav").touch()
    assert "is empty" in refusal(tmp_path / "empty.wav")
    assert "is no file" in refusal(tmp_path)


@pytest.mark.parametrize("suffix", CODECS)
def test_a_truncated_file_is_refused_before_it_is_rendered(tmp_path: Path, suffix: str):
    path = write_sound(tmp_path / f"tone.{suffix}", tone(3.0, 22_050), 22_050)
    content = path.read_bytes()
    for part in (0.1, 0.5, 0.9):
        path.write_bytes(content[: int(len(content) * part)])
        assert any(said in refusal(path) for said in ("cut short", "damaged or no sound file"))


@pytest.mark.parametrize(
    "content",
    [
        b"not sound at all, only words" * 50,
        b"<!DOCTYPE html><html></html>",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"RIFF",
        b"RIFF\x24\0\0\0WAVEfmt ",
        b"OggS",
        b"fLaC",
        bytes(5000),
        np.random.default_rng(1).bytes(5000),
    ],
)
def test_what_is_no_sound_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "sound.wav").write_bytes(content)
    refusal(tmp_path / "sound.wav")


@pytest.mark.parametrize(
    "playlist",
    [
        "#EXTM3U\n#EXTINF:1,\n{tone}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile {tone}\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.wav\n#EXT-X-ENDLIST\n",
    ],
)
def test_a_playlist_is_never_followed(tmp_path: Path, playlist: str):
    tone_file = write_sound(tmp_path / "tone.wav", tone(1.0, 16_000), 16_000)
    (tmp_path / "list.m3u8").write_text(playlist.format(tone=tone_file))
    refusal(tmp_path / "list.m3u8")


def test_a_name_that_looks_like_an_address_is_only_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert "there is no sound file" in refusal(Path("concat:a.wav|b.wav"))
    write_sound(tmp_path / "tone.wav", tone(0.2, 16_000), 16_000).rename(tmp_path / "data:tone.wav")
    assert AudioFile.open("data:tone.wav").duration_s == pytest.approx(0.2)


def test_a_video_without_sound_is_refused(tmp_path: Path):
    with av.open(str(tmp_path / "mute.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
    assert "no sound track" in refusal(tmp_path / "mute.mp4")


def test_a_file_without_a_single_sample_is_refused(tmp_path: Path):
    with wave.open(str(tmp_path / "nothing.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
    assert "no sound" in refusal(tmp_path / "nothing.wav")


@pytest.mark.parametrize(
    ("num_channels", "rate_hz"), [(1, 0), (1, 2**31 - 1), (65_535, 16_000), (16, 16_000), (1, 100)]
)
def test_a_layout_that_nobody_records_is_refused(tmp_path: Path, num_channels: int, rate_hz: int):
    data = bytes(num_channels * 2 * 10)
    fmt = struct.pack(
        "<HHIIHH", 1, num_channels, rate_hz, rate_hz * num_channels * 2 % 2**32, num_channels * 2 % 2**16, 16
    )
    body = b"WAVEfmt " + struct.pack("<I", 16) + fmt + b"data" + struct.pack("<I", len(data)) + data
    (tmp_path / "odd.wav").write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    refusal(tmp_path / "odd.wav")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_no_numbers_are_refused(tmp_path: Path, value: float):
    samples = tone(0.5, 16_000)
    samples[4000] = value
    fmt = struct.pack("<HHIIHH", 3, 1, 16_000, 64_000, 4, 32)
    body = b"WAVEfmt " + struct.pack("<I", 16) + fmt + b"data" + struct.pack("<I", samples.nbytes) + samples.tobytes()
    (tmp_path / "nan.wav").write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    assert "no numbers" in refusal(tmp_path / "nan.wav")


def test_a_wav_that_was_streamed_and_states_no_length_is_whole(tmp_path: Path):
    path = write_sound(tmp_path / "tone.wav", tone(1.0, 16_000), 16_000)
    content = bytearray(path.read_bytes())
    content[4:8] = b"\xff" * 4
    content[content.index(b"data") + 4 : content.index(b"data") + 8] = b"\xff" * 4
    path.write_bytes(content)
    assert not is_cut_short(path)
    assert AudioFile.open(path).duration_s == pytest.approx(1.0, abs=0.01)


def test_only_an_mp3_without_a_header_of_its_own_states_no_length(tmp_path: Path):
    path = write_sound(tmp_path / "tone.mp3", tone(1.0, 44_100), 44_100)
    assert states_length(path)
    content = path.read_bytes()
    bare = content.replace(b"Xing", b"\0\0\0\0").replace(b"Info", b"\0\0\0\0")
    path.write_bytes(bare)
    assert not states_length(path)
    assert states_length(write_sound(tmp_path / "tone.flac", tone(1.0, 44_100), 44_100))
