"""The command line: quick, teaching, and one line on standard error for whatever a user may get wrong."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from avacast.engine.bundle import write_bundle
from avacast.engine.config import VAEConfig
from avacast.engine.pipeline import Pipeline
from avacast.engine.presets import POCKET
from avacast.streaming import cli
from avacast.streaming.audio_file import AudioFile

AVACAST = Path(sys.executable).parent / "avacast"


@dataclasses.dataclass(frozen=True)
class Ending:
    """How a command ended."""

    code: int
    out: str
    err: str


def avacast(*arguments: object) -> Ending:
    """The installed console script in a process of its own."""
    done = subprocess.run([AVACAST, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=120)
    return Ending(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a picture, a voice and a small untrained model that are all good."""
    folder = tmp_path_factory.mktemp("inputs")
    Image.new("RGB", (80, 64), (200, 120, 40)).save(folder / "face.png")
    soundfile.write(folder / "voice.wav", 0.1 * np.random.default_rng(1).standard_normal(16_000), 16_000)
    wav2vec2 = dict(POCKET.audio.wav2vec2, hidden_size=32, num_hidden_layers=1, num_attention_heads=2)
    wav2vec2 |= {"intermediate_size": 32, "conv_dim": [8] * 7, "num_conv_pos_embedding_groups": 2}
    dit = {"dim": 32, "ffn_dim": 32, "num_heads": 2, "num_layers": 1, "audio_in_dim": 32, "audio_num_heads": 2}
    config = dataclasses.replace(
        POCKET,
        name="tiny",
        height=64,
        width=64,
        dit=dataclasses.replace(POCKET.dit, **dit),
        vae=VAEConfig(decoder_widths=(8, 8, 8, 8), encoder_width=8),
        audio=dataclasses.replace(POCKET.audio, wav2vec2=wav2vec2),
    )
    networks = Pipeline.with_random_weights(config).networks
    parts = {"dit": networks.dit, "vae": networks.vae, "speech_encoder": networks.speech_encoder}
    write_bundle(folder / "model", config, {name: module.state_dict() for name, module in parts.items()})
    return folder


def damaged(inputs: Path, tmp_path: Path, file: str) -> Path:
    """A copy of the model with one byte of `file` flipped."""
    subprocess.run(["cp", "-r", inputs / "model", tmp_path / "model"], check=True)
    content = bytearray((tmp_path / "model" / file).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "model" / file).write_bytes(content)
    return tmp_path / "model"


def refused(
    arguments: list[object], code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Runs the real command line in this process and expects its one line."""
    monkeypatch.setattr(sys, "argv", ["avacast", *map(str, arguments)])
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as caught:
            cli.main()
    finally:
        signal.signal(signal.SIGTERM, before)
    lines = capsys.readouterr().err.splitlines()
    assert caught.value.code == code
    assert len(lines) == 1, lines
    assert lines[0].startswith("avacast: ")
    assert said in lines[0]


def test_help_teaches_with_examples_and_loads_no_model_library():
    code = "import sys; sys.argv = ['avacast', '--help']\nfrom avacast.streaming import cli\ntry: cli.main()\n"
    code += "finally: print(*{'torch', 'transformers', 'av', 'fastapi', 'aiortc'} & set(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == ""
    for said in ("render", "say", "serve", "Examples:", "avacast say"):
        assert said in done.stdout


PRESSED = """
import os, signal, sys
class Ctrl_C:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Ctrl_C())
sys.argv = ["avacast", "--help"]
from avacast.streaming.cli import main
main()
"""
"""The console script, with a Ctrl-C while it imports what it needs."""


def test_ctrl_c_at_the_very_beginning_says_nothing():
    done = subprocess.run([sys.executable, "-c", PRESSED], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_a_command_in_the_background_does_not_hear_ctrl_c():
    """A shell script's `avacast ... &` inherits that the signal is ignored."""
    ignoring = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n{PRESSED}"
    done = subprocess.run([sys.executable, "-c", ignoring], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: avacast" in done.stdout


INTERRUPTED = """
import atexit, sys
from avacast.streaming import installed_commands
from avacast.streaming.cli import main
class Large:
    def __del__(self):
        print("taken apart")
large = Large()
atexit.register(print, "cleaned up")
def run(arguments):
    try:
        raise KeyboardInterrupt
    finally:
        print("unwound")
installed_commands.run = run
main()
"""
"""The console script with a command that is interrupted."""


def test_an_interrupted_command_cleans_up_and_does_not_take_itself_apart():
    """The latter is a second of computing after every command that has loaded a model."""
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (130, ["unwound", "cleaned up"], "")


def test_the_list_of_commands_is_not_cut_short():
    """What a command does is told to the end of its first sentence."""
    for group in ([], ["bench"], ["train"]):
        commands = avacast(*group, "--help").out.partition("Commands:")[2]
        assert len(commands.splitlines()) > 4
        assert "..." not in commands


def test_a_bare_avacast_shows_the_help_and_each_command_has_examples():
    assert "Usage: avacast" in avacast().out
    for command in ("render", "say"):
        ending = avacast(command, "--help")
        assert ending.code == 0
        assert "Examples:" in ending.out


def test_version_is_the_packages():
    assert avacast("--version") == Ending(0, "avacast 0.1.0\n", "")


def test_every_installed_command_can_be_loaded():
    listed = avacast("--help").out
    assert "Not available here" not in listed


def test_a_group_lists_its_commands_without_being_one_itself():
    ending = avacast("train", "--help")
    assert ending.code == 0
    assert "pocket" in ending.out
    assert avacast("train", "nothing").code == 2


def test_render_makes_a_video_and_says_how_fast(inputs: Path, tmp_path: Path):
    output = tmp_path / "out.mp4"
    ending = avacast("render", inputs / "face.png", inputs / "voice.wav", "-o", output, "--bundle", inputs / "model")
    assert ending.code == 0, ending.err
    assert "1.0 s of video" in ending.out
    assert "real-time factor" in ending.out
    assert AudioFile.open(output).duration_s == pytest.approx(1.0, abs=0.06)


def test_say_makes_a_video_from_text(inputs: Path, tmp_path: Path):
    output = tmp_path / "out.mp4"
    model = ["--bundle", inputs / "model", "--threads", 1]
    ending = avacast("say", "Hello there.", "-p", inputs / "face.png", "-o", output, "--voice", "f3", *model)
    assert ending.code == 0, ending.err
    sound = AudioFile.open(output)
    assert sound.heard_rate_hz == 22_050
    assert sound.duration_s > 0.8


@pytest.mark.parametrize(
    ("portrait", "audio", "code", "said"),
    [
        ("nowhere.png", "voice.wav", 3, "there is no picture"),
        ("voice.wav", "voice.wav", 3, "no PNG, JPEG or WebP"),
        ("empty.png", "voice.wav", 3, "empty"),
        ("face.png", "nowhere.wav", 3, "there is no sound file"),
        ("face.png", "empty.wav", 3, "is empty"),
        ("face.png", "cut.wav", 3, "cut short"),
        ("face.png", "face.png", 3, "no sound file"),
    ],
)
def test_a_bad_picture_or_sound_is_told_in_one_line(
    inputs: Path,
    portrait: str,
    audio: str,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    (inputs / "empty.wav").touch()
    (inputs / "empty.png").touch()
    (inputs / "cut.wav").write_bytes((inputs / "voice.wav").read_bytes()[:20_000])
    arguments = ["render", inputs / portrait, inputs / audio, "-o", inputs / "never.mp4"]
    refused(arguments, code, said, monkeypatch, capsys)
    assert not (inputs / "never.mp4").exists()


@pytest.mark.parametrize("file", ["manifest.json", "config.json", "dit.safetensors", "speech_encoder.safetensors"])
def test_one_flipped_byte_of_a_model_is_told_in_one_line(
    inputs: Path, tmp_path: Path, file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    model = damaged(inputs, tmp_path, file)
    arguments = ["render", inputs / "face.png", inputs / "voice.wav", "-o", tmp_path / "out.mp4", "--bundle", model]
    refused(arguments, 3, file, monkeypatch, capsys)
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["dance"], 2, "No such command 'dance'"),
        (["render"], 2, "Missing argument 'PORTRAIT'"),
        (["render", "a.png", "b.wav", "--sede", "1"], 2, "--sede"),
        (["render", "a.png", "b.wav", "--seed"], 2, "--seed"),
        (["render", "a.png", "b.wav", "--seed", "-1"], 2, "--seed"),
        (["render", "a.png", "b.wav", "--output", "out.avi"], 2, "must end in .mp4"),
        (["render", "a.png", "b.wav", "--output", "/no/such/out.mp4"], 2, "there is no folder"),
        (["say", "   ", "--portrait", "FACE"], 3, "no text"),
        (["say", "Hello", "--portrait", "FACE", "--rate", "5"], 2, "80 to 450"),
        (["render", "a.png", "b.wav", "--seed", "-1"], 2, "see `avacast render --help`"),
        (["render", "a.png", "b.wav", "--profile", "fast"], 2, "'--profile': 'fast' is not one of"),
        (["say", "Hello", "--portrait", "FACE", "--bundle", "/no/model"], 3, "no model folder"),
        (["say", "...", "--portrait", "FACE"], 3, "nothing that can be spoken"),
        (["say", "Hello", "--portrait", "FACE", "--voice", "zz"], 2, "no variant 'zz'"),
        (["serve", "--bundle", "/no/model"], 3, "no model folder"),
        (["render", "FACE", "b.wav", "--bundle", "/tmp"], 3, "no model folder at /tmp"),
        (["replay", "/tmp"], 2, "there is no recording at /tmp"),
        (["serve", "--host", "no.such.host.invalid"], 5, "choose another with --host"),
        (["say", "Hello", "--portrait", "nobody"], 3, "there is no picture 'nobody'"),
    ],
)
def test_a_wrong_argument_is_told_in_one_line(
    inputs: Path,
    arguments: list[str],
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    filled = [str(inputs / "face.png") if argument == "FACE" else argument for argument in arguments]
    refused([*filled], code, said, monkeypatch, capsys)


def test_the_sound_that_is_read_is_never_written_over(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    subprocess.run(["cp", inputs / "voice.wav", tmp_path / "voice.mp4"], check=True)
    arguments = ["render", inputs / "face.png", tmp_path / "voice.mp4", "-o", tmp_path / "voice.mp4"]
    refused(arguments, 2, "also the sound", monkeypatch, capsys)


def test_the_traceback_is_there_for_who_asks():
    env = {**os.environ, "AVACAST_TRACEBACK": "1"}
    done = subprocess.run(
        [AVACAST, "say", "Hello", "--portrait", "nobody"], capture_output=True, text=True, check=False, env=env
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "BadPortrait" in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_render_leaves_nothing_behind(inputs: Path, tmp_path: Path, number: signal.Signals, code: int):
    soundfile.write(tmp_path / "long.wav", np.zeros(16_000 * 600), 16_000)
    (tmp_path / "out").mkdir()
    arguments = ["render", inputs / "face.png", tmp_path / "long.wav", "-o", tmp_path / "out" / "out.mp4"]
    command = [AVACAST, *map(str, arguments), "--bundle", inputs / "model", "--threads", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not any(file.stat().st_size for file in (tmp_path / "out").iterdir()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in err
    assert list((tmp_path / "out").iterdir()) == []
