"""The picture of the schedule: it shows what the ring buffer does, and the one in the documents is up to date."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import torch
import typer
from typer.testing import CliRunner

from avacast.bench.schedule import NUM_STEPS, NUM_WINDOWS, WINDOW, Schedule, picture, schedule
from avacast.engine.profile import WindowConfig
from avacast.engine.ring_buffer import RingBuffer
from avacast.engine.wavefront import Pass, step_lags

COMMITTED = Path(__file__).parents[2] / "docs" / "schedule.svg"
SVG = "{http://www.w3.org/2000/svg}"


def test_the_committed_picture_is_what_the_command_writes(tmp_path: Path):
    application = typer.Typer()
    application.command()(schedule)
    file = tmp_path / "schedule.svg"
    done = CliRunner().invoke(application, ["--output", str(file)])
    assert done.exit_code == 0, done.output
    assert file.read_text() == COMMITTED.read_text(), "run `avacast bench schedule --output docs/schedule.svg`"


@pytest.mark.parametrize("lookahead", [0, 1, 2])
@pytest.mark.parametrize("config", [WINDOW, WindowConfig(window=6, overlap=4, settle=0)], ids=str)
def test_a_schedule_is_what_the_ring_buffer_runs_and_hands_out(config: WindowConfig, lookahead: int):
    """Pass by pass, and after each tick as many latent frames have left."""
    made = Schedule.of(config, 3, lookahead, 5)
    ring = RingBuffer(config, 3)
    end = ring.plan.span(4)[1]
    for passes, num_left in zip(made.ticks, made.num_left, strict=True):
        ring.admit(step_lags(3, lookahead, config.neighbours))
        done: list[Pass] = []
        while (due := ring.due(end)) is not None:
            ring.fuse(due, torch.zeros(1, 1, config.window, 1, 1))
            done.append(due)
        ring.pop(end)
        assert (tuple(done), ring.num_left) == (passes, num_left)
    assert ring.num_left == end


def test_every_pass_is_drawn_once_and_every_wait_has_its_arrow():
    """Three panels of all windows and steps; one arrow for each wait at look-ahead 1, three times as many at full."""
    root = ET.fromstring(picture())
    panels = root.findall(f"{SVG}g")
    cells = [[cell.get("class") for cell in panel.iter(f"{SVG}rect") if cell.get("class")] for panel in panels]
    per_step = {f"cell s{step}": NUM_WINDOWS for step in range(NUM_STEPS)}
    assert [{kind: names.count(kind) for kind in per_step} for names in cells] == [per_step] * 3
    arrows = [sum("marker-end" in path.attrib for path in panel.iter(f"{SVG}path")) for panel in panels]
    assert arrows == [0, NUM_WINDOWS - 1, (NUM_STEPS - 1) * (NUM_WINDOWS - 1)]


def test_it_reads_on_light_and_dark_pages():
    """Every colour of the light set has its counterpart in the dark one."""
    style = picture().partition("<style>")[2].partition("</style>")[0]
    light, _, dark = style.partition("@media (prefers-color-scheme: dark)")
    assert set(re.findall(r"\.(\w+){", light)) == set(re.findall(r"\.(\w+){", dark)) >= {"card", "word", "s0", "s3"}


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path):
    application = typer.Typer()
    application.command()(schedule)
    (tmp_path / "no_folder").touch()
    done = CliRunner().invoke(application, ["--output", str(tmp_path / "no_folder" / "schedule.svg")])
    assert "cannot be written" in str(done.exception)
