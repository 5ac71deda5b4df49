"""The command `avacast serve` as a user starts it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from avacast.engine.bundle import write_bundle
from avacast.engine.pipeline import Pipeline

AVACAST = str(Path(sysconfig.get_path("scripts")) / "avacast")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, load_tiny: Callable[[], Pipeline]) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny"
    pipeline = load_tiny()
    names = ("dit", "vae", "speech_encoder")
    write_bundle(path, pipeline.config, {name: getattr(pipeline.networks, name).state_dict() for name in names})
    return path


def serve(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [AVACAST, "serve", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_is_live_and_a_signal_ends_all_of_it(bundle: Path, number: signal.Signals):
    """The signal goes to the whole process group, as from a terminal: within five seconds nothing is left.

    Whoever asked it to end is told by 0 that it did so in order.
    """
    port = free_port()
    process = serve("--port", str(port), "--bundle", str(bundle), "--threads", "1")
    assert process.stdout
    assert process.stdout.readline() == f"avacast is live on http://127.0.0.1:{port}\n"
    limits = Path(f"/proc/{process.pid}/limits").read_text()
    assert re.search(r"Max core file size\s+0 ", limits), "a crash leaves nobody's voice or picture on the disk"
    started = time.monotonic()
    os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=10)
    assert time.monotonic() - started < 5
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert "worker" not in errors, "it saw no signal of its own"
    assert group_ends(process.pid, timeout_s=10), "a reaper may take its time to clear what has ended"


def test_a_local_server_refuses_the_name_of_a_rebound_site(bundle: Path):
    """Whatever it asks for; by its own names and addresses the server is reached."""
    port = free_port()
    process = serve("--port", str(port), "--bundle", str(bundle), "--threads", "1")
    assert process.stdout
    process.stdout.readline()
    url = f"http://127.0.0.1:{port}/ready"
    assert httpx.get(url).status_code == 200
    assert httpx.get(url, headers={"Host": f"localhost:{port}"}).status_code == 200
    refused = httpx.get(url, headers={"Host": f"evil.example:{port}"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (421, "foreign_host")
    process.terminate()
    process.communicate(timeout=10)


def group_ends(group: int, timeout_s: float) -> bool:
    """Whether every process of the group has gone in time."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_a_busy_port_is_one_line_before_anything_is_loaded():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = serve("--port", str(port))
        out, errors = process.communicate(timeout=20)
    assert (process.returncode, out) == (5, "")
    assert errors.splitlines() == [
        f"avacast: cannot listen on 127.0.0.1 port {port} (Address already in use); choose another with --port"
    ]


def test_a_damaged_bundle_is_one_line(bundle: Path, tmp_path: Path):
    """One flipped byte in the weights: the model is not loaded, nothing is served, the exit code says so."""
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for file in bundle.iterdir():
        content = bytearray(file.read_bytes())
        if file.name == "dit.safetensors":
            content[-1] ^= 1
        (damaged / file.name).write_bytes(content)
    process = serve("--port", str(free_port()), "--bundle", str(damaged))
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, out) == (3, "")
    assert "Traceback" not in errors
    assert [line for line in errors.splitlines() if line.startswith("avacast: ")] == [errors.splitlines()[-1]]
    assert "dit.safetensors" in errors


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--tts", "elevenlabs"), "elevenlabs needs a key; set the environment variable ELEVENLABS_API_KEY"),
        (("--tts", "nobody"), "there is no speech service 'nobody'; choose one of espeak, elevenlabs, "),
        (("--tts-voice", "f3"), "the embedded voice takes neither --tts-voice nor --tts-url"),
        (("--ice-server", "turn.example"), "'turn.example' is no ICE server; write it like stun:host:3478 or "),
        (("--ice-server", "turn:turn.example"), "turn:turn.example needs a name and a password; give --ice-username "),
        (("--allow-origin", "*"), "'*' is no origin; write it like https://player.example, without a path"),
    ],
    ids=["no key", "unknown", "voice", "no ICE server", "no password", "no origin"],
)
def test_a_setting_that_cannot_be_used_is_one_line_before_anything_is_loaded(
    arguments: tuple[str, ...], text: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("ELEVENLABS_API_KEY", raising=False)
    process = serve("--port", str(free_port()), *arguments)
    out, errors = process.communicate(timeout=20)
    assert (process.returncode, out) == (2, "")
    (line,) = errors.splitlines()
    assert line.startswith(f"avacast: {text}")
