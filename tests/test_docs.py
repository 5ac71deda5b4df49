"""What the documents promise is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

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
