"""`avacast export` and `avacast verify` as they are typed: what they print, and what they end with."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import typer
from click.testing import Result
from typer.testing import CliRunner

from avacast.engine.errors import AvacastError, BadBundle, BadSetting, Unavailable
from avacast.engine.manifest import MANIFEST
from avacast.export.commands import export, verify

PORTRAIT = Path(__file__).parents[2] / "gallery" / "ada.png"


def typed(*arguments: object) -> Result:
    application = typer.Typer()
    application.command()(export)
    application.command()(verify)
    return CliRunner().invoke(application, [str(argument) for argument in arguments])


def refused(*arguments: object) -> AvacastError:
    """The one-line error that the command ends with."""
    error = typed(*arguments).exception
    assert isinstance(error, AvacastError), error
    assert "\n" not in str(error)
    return error


@pytest.fixture(scope="module")
def exports(small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports")
    for precision in ("fp32", "bf16"):
        done = typed("export", small_bundle, "--precision", precision, "--exports", folder)
        assert done.exit_code == 0, done.output
        assert f"mic-onnx-{precision}-b1: step, decoder_init, decoder_step, speech_encoder, " in done.stdout
    return folder


def test_verify_compares_all_that_can_run_and_names_the_rest(small_bundle: Path, exports: Path):
    """Tensors, frames and the stream of one export; the other, which needs a GPU, is the error at the end."""
    done = typed("verify", small_bundle, "--exports", exports, "--picture", PORTRAIT)
    assert isinstance(done.exception, Unavailable)
    assert str(done.exception).startswith("not compared: mic-onnx-bf16-b1")
    assert "the whole stream, its worst frame" in done.stdout
    assert "PAST ITS BOUND" not in done.stdout


def test_verify_refuses_what_is_no_export_of_the_model(small_bundle: Path, exports: Path, tmp_path: Path):
    """No exports, a damaged manifest, another model's exports: a sentence each."""
    assert "run `avacast export` first" in str(refused("verify", small_bundle, "--exports", tmp_path))
    assert "another model" in str(refused("verify", "--exports", exports))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / MANIFEST).write_text("{}")
    assert isinstance(refused("verify", small_bundle, "--exports", tmp_path), BadBundle)


def test_export_refuses_what_it_cannot_do_before_it_begins(
    small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A profile that is none; a TensorRT that is not there; nothing is left behind."""
    assert isinstance(refused("export", small_bundle, "--profile", "mic,choir", "--exports", tmp_path), BadSetting)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    error = refused("export", small_bundle, "--backend", "tensorrt", "--exports", tmp_path)
    assert "no TensorRT is installed" in str(error)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
def test_verify_on_a_device_that_is_not_here(small_bundle: Path, exports: Path):
    """It is refused before the model is loaded."""
    assert "choose cpu" in str(refused("verify", small_bundle, "--exports", exports, "--device", "cuda"))


EXPORTING = "from avacast.streaming.cli import main; main()"


def test_an_export_that_is_stopped_while_it_traces_ends_at_once_and_leaves_nothing(small_bundle: Path, tmp_path: Path):
    """With the status of a termination."""
    command = [sys.executable, "-P", "-c", EXPORTING, "export", str(small_bundle), "--exports", str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not list(tmp_path.glob(".*/new/step.onnx")):
            time.sleep(0.01)
        process.terminate()
        stopped = time.monotonic()
        _, said = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert time.monotonic() - stopped < 30
    assert list(tmp_path.iterdir()) == []
    assert "Traceback" not in said
