"""What the documents promise is there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import httpx
import pytest
import soundfile

from avacast.bench.live_server import live_server
from avacast.engine.voice import Voice

ROOT = Path(__file__).parent.parent
ROOMS = ("engine", "kernels", "streaming", "training", "bench", "export")


@pytest.mark.parametrize("room", ROOMS)
def test_the_architecture_page_names_every_module(room: str) -> None:
    """A module that is not on the map cannot be found, and a name on the map without a module misleads."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    section = text.split(f"## {room}/")[1].split("\n## ")[0]
    files = "".join(re.findall(r"^\| (.*?) \|", section, re.MULTILINE)) or section
    named = set(re.findall(r"`(\w+)`", files))
    modules = {path.stem for path in (ROOT / room).glob("*.py")} - {"__init__"}
    assert named & modules == modules, sorted(modules - named)
    assert not {name for name in named if room != "kernels"} - modules


def test_local_links_lead_somewhere() -> None:
    """Every relative link and picture of README and docs exists."""
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def programs(page: str) -> list[str]:
    """The Python programs of a page of the documentation, in order."""
    return re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs" / page).read_text(), re.MULTILINE | re.DOTALL)


def run(program: str, folder: Path) -> str:
    """What a program printed; it has to end well."""
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_programs_about_the_engine_run_as_they_are_printed(tmp_path: Path) -> None:
    """One after the other, beside a picture and a recording of the names that they use."""
    shutil.copy(ROOT / "gallery" / "ada.png", tmp_path)
    speech = Voice().speak("Hello, I am Ada.")
    soundfile.write(tmp_path / "speech.wav", speech.samples, speech.sample_rate_hz)
    printed = run("\n".join(programs("python.md")), tmp_path)
    assert (tmp_path / "ada.mp4").stat().st_size > 10_000
    assert re.findall(r"(\w+): frames wait for \d+ ms", printed) == ["mic", "tts", "offline"]
    assert "there is no picture at holiday.gif" in printed


@pytest.fixture(scope="module")
def server() -> Generator[str]:
    with live_server() as address:
        yield address


def test_the_program_about_live_sessions_runs_as_it_is_printed(server: str, tmp_path: Path) -> None:
    """Only the address of the server is another one."""
    [program] = programs("http.md")
    printed = run(program.replace("http://127.0.0.1:8080", server), tmp_path)
    assert "duration_s" in printed
    assert "(256, 256, 3) 48000" in printed


def test_the_program_about_speech_runs_as_it_is_printed(server: str, tmp_path: Path) -> None:
    """Into a session that was begun as the page says; it ends when all has been heard."""
    [program] = programs("speech.md")
    session = httpx.post(f"{server}/api/sessions", json={"portrait": "ada"}).json()["id"]
    printed = run(
        program.replace("127.0.0.1:8080", server.removeprefix("http://")).replace("/ID/", f"/{session}/"), tmp_path
    )
    position_s, interrupted = printed.split()
    assert float(position_s) > 0.5
    assert interrupted == "False"
