"""The whole way in a real browser: page, session, received picture and received sound.

Set AVACAST_BUNDLE to test another model than the embedded one.
"""

from __future__ import annotations

import json
import wave
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soxr

from avacast.bench.lip_sync import best_correlation
from avacast.bench.viewer import Received, Viewer, find_chromium, open_viewer
from avacast.engine.mouth import mouth_opening
from avacast.engine.voice import Voice

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(find_chromium() is None, reason="Chromium is not installed"),
    pytest.mark.timeout(300),
]

WATCH_S = 10
MAX_GAP_S = 1.0
MIN_CORRELATION = 0.5
MIN_LOUDNESS = 0.005
MICROPHONE_RATE_HZ = 48_000

SENTENCES = "Oh, hello! My name is Ada. ... I would like to show you, how far my mouth can open. ... Follow me, please."


@pytest.fixture(scope="session")
def portrait(server: str) -> dict[str, Any]:
    """The gallery's first portrait."""
    return httpx.get(f"{server}/api/portraits").json()[0]


@pytest.fixture(scope="session")
def microphone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of someone who speaks, in a voice that is not the avatar's, with pauses."""
    speech = Voice(variant="f2", rate_wpm=150).speak(SENTENCES)
    samples = soxr.resample(speech.samples, speech.sample_rate_hz, MICROPHONE_RATE_HZ)
    path = tmp_path_factory.mktemp("microphone") / "speech.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(MICROPHONE_RATE_HZ)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def check(received: Received, viewer: Viewer, portrait: dict[str, Any], path: Path) -> None:
    """What both ways of speaking must show; the measurement is kept at `path` and printed."""
    opening = mouth_opening(received.frames, portrait["mouth_box"])
    correlation, lag_s = best_correlation(received.times_s, opening, received.loudness)
    measured = {
        "received_fps": round(received.fps, 2),
        "longest_gap_s": round(received.longest_gap_s, 3),
        "correlation": round(correlation, 3),
        "lag_s": round(lag_s, 3),
        "loudness": round(float(received.loudness.max()), 4),
        **viewer.numbers(),
    }
    path.write_text(json.dumps(measured))
    print(path.stem, json.dumps(measured))
    assert received.longest_gap_s < MAX_GAP_S
    assert received.times_s[-1] - received.times_s[0] > WATCH_S - 2 * MAX_GAP_S
    assert received.loudness.max() > MIN_LOUDNESS
    assert correlation >= MIN_CORRELATION, measured


def test_lips_follow_the_microphone(server: str, portrait: dict[str, Any], microphone: Path, tmp_path: Path):
    """A WAV file is the microphone. Over 10 s the received stream has no gap of a second, its sound is heard, and the
    mouth in the received frames opens and closes with it.
    """
    with open_viewer(server, microphone=microphone) as viewer:
        viewer.start(portrait["name"])
        viewer.page.click("#microphone")
        viewer.page.wait_for_selector("#microphone[aria-pressed=true]")
        viewer.page.wait_for_timeout(4000)
        check(viewer.collect(WATCH_S, portrait["mouth_box"]), viewer, portrait, tmp_path / "microphone.json")


def test_lips_follow_typed_text(server: str, portrait: dict[str, Any], tmp_path: Path):
    """The same for a typed sentence; it is sent with Enter."""
    with open_viewer(server) as viewer:
        viewer.start(portrait["name"])
        viewer.page.fill("#text", SENTENCES)
        viewer.page.press("#text", "Enter")
        viewer.page.wait_for_timeout(1000)
        received = viewer.collect(WATCH_S, portrait["mouth_box"])
        check(received, viewer, portrait, tmp_path / "text.json")


def test_the_page_works_by_keyboard_and_fits_a_phone(server: str):
    """Tab reaches Start, Enter starts and stops, arrows choose a portrait; nothing is wider than a 360 px screen."""
    with open_viewer(server, width=360, height=740) as viewer:
        page = viewer.page
        page.locator("#gallery input").first.focus()
        page.keyboard.press("ArrowRight")
        assert page.locator("#gallery input").nth(1).is_checked()
        page.locator("body").click(position={"x": 1, "y": 1})
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "start"
        page.keyboard.press("Enter")
        page.wait_for_selector("#state[data-state=live]", timeout=30_000)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.locator("#start").focus()
        page.keyboard.press("Enter")
        page.wait_for_selector("#state[data-state=idle]")
        assert page.locator("#text").is_disabled()
