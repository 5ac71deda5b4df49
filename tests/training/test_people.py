"""training/people.py: recordings that Debian packages, each speaker by himself, and none that must not be heard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from avacast.engine.config import SAMPLE_RATE_HZ
from avacast.training.people import Person, installed_people

Write = Callable[[str], Path]
LENGTH_S = 0.8


def hum(rate_hz: int) -> NDArray[np.float32]:
    return (0.1 * np.sin(2 * np.pi * 220 * np.arange(round(LENGTH_S * rate_hz)) / rate_hz)).astype(np.float32)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a hum to a place below the folder where packages are installed."""

    def at(name: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, hum(22_050), 22_050)
        return path

    return at


def test_every_folder_is_a_speaker(tmp_path: Path, write: Write) -> None:
    """With all that lies below it; the same voice under the name of another alphabet does not count twice."""
    for name in ("alpha/a.ogg", "syllab/ba.ogg"):
        write(f"klettres/de/{name}")
    write("klettres/fr/alpha/a.ogg")
    write("ktuberling/sounds/sr/hat.wav")
    write("ktuberling/sounds/sr@latin/hat.wav")
    write("asterisk/sounds/it_IT_m_Carlo/digits/1.wav")
    people = {person.name: len(person.files) for person in installed_people(tmp_path)}
    assert people == {
        "asterisk/sounds/it_IT_m_Carlo": 1,
        "klettres/de": 2,
        "klettres/fr": 1,
        "ktuberling/sounds/sr": 1,
    }


def test_measurements_have_speakers_of_their_own(tmp_path: Path, write: Write) -> None:
    """Those of the recordings that quality is measured on are never trained with."""
    for speaker in ("en_US_f_Allison", "es_MX_f_Allison", "fr_CA_f_June"):
        write(f"asterisk/sounds/{speaker}/hello.wav")
    assert installed_people(tmp_path) == []


def test_what_is_no_speech_is_left_out(tmp_path: Path, write: Write) -> None:
    """Beeps, silence and monkeys; texts and pictures."""
    for name in ("silence/1.wav", "beep.wav", "tt-monkeys.wav", "hello.wav"):
        write(f"asterisk/sounds/fr/{name}")
    (tmp_path / "asterisk/sounds/fr/readme.txt").write_text("hello")
    (person,) = installed_people(tmp_path)
    assert [path.name for path in person.files] == ["hello.wav"]


@pytest.mark.parametrize(("suffix", "codec", "rate_hz"), [("g722", "g722", 16_000), ("wav", "pcm_s16le", 8_000)])
def test_recordings_are_brought_to_one_form(tmp_path: Path, suffix: str, codec: str, rate_hz: int) -> None:
    """Whatever the container and the rate: 16 kHz, as long as they were, and as loud as each other."""
    path = tmp_path / f"hum.{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate_hz, layout="mono")
        frame = av.AudioFrame.from_ndarray((32767 * hum(rate_hz)).astype(np.int16)[None], "s16", "mono")
        frame.sample_rate = rate_hz
        container.mux([*stream.encode(frame), *stream.encode(None)])
    (sound,) = Person("hum", (path,)).sounds()
    assert len(sound) == pytest.approx(LENGTH_S * SAMPLE_RATE_HZ, rel=0.02)
    assert np.abs(sound).max() == pytest.approx(0.5)
    spectrum = np.abs(np.fft.rfft(sound))
    assert np.argmax(spectrum) * SAMPLE_RATE_HZ / len(sound) == pytest.approx(220, abs=3)


def test_damaged_files_are_passed_over(tmp_path: Path, write: Write, caplog: pytest.LogCaptureFixture) -> None:
    """And said so; what is silent or shorter than a sound is passed over too."""
    good = write("good.wav")
    for name, samples in (("silent.wav", np.zeros(SAMPLE_RATE_HZ)), ("short.wav", hum(SAMPLE_RATE_HZ)[:1000])):
        soundfile.write(tmp_path / name, samples, SAMPLE_RATE_HZ)
    damaged = tmp_path / "damaged.ogg"
    damaged.write_bytes(b"OggS, but no more")
    files = (damaged, tmp_path / "silent.wav", tmp_path / "short.wav", good)
    assert len(list(Person("somebody", files).sounds())) == 1
    assert "damaged.ogg is passed over" in caplog.text
