"""A viewer that measures: the page in a real headless Chromium, with a sound file as its microphone.

What is measured is what was received: frames as the browser shows them, sound as it plays. Knows the page's element
ids; knows nothing of the server behind them.
"""

from __future__ import annotations

import base64
import contextlib
import shutil
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from playwright.sync_api import Page

MAX_START_S = 60
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")

# Runs in the page. For each frame shown: when, the loudness of the sound playing at that moment, the pixels of a box.
COLLECT = """
async ({seconds, box}) => {
  const video = document.getElementById("video");
  const [top, left, bottom, right] = box;
  const [width, height] = [right - left, bottom - top];
  const canvas = new OffscreenCanvas(width, height);
  const picture = canvas.getContext("2d", {willReadFrequently: true});
  const context = new AudioContext();
  await context.resume();
  const analyser = new AnalyserNode(context, {fftSize: 2048});
  context.createMediaStreamSource(video.srcObject).connect(analyser);
  const wave = new Float32Array(analyser.fftSize);
  const times = [], loudness = [], pixels = [];
  await new Promise((done) => {
    const begin = performance.now();
    const step = (now, frame) => {
      if (now - begin > 1000 * seconds) { done(); return; }
      video.requestVideoFrameCallback(step);
      analyser.getFloatTimeDomainData(wave);
      picture.drawImage(video, left, top, width, height, 0, 0, width, height);
      times.push(frame.expectedDisplayTime);
      loudness.push(Math.sqrt(wave.reduce((sum, x) => sum + x * x, 0) / wave.length));
      pixels.push(picture.getImageData(0, 0, width, height).data);
    };
    video.requestVideoFrameCallback(step);
    setTimeout(done, 1000 * seconds + 5000);
  });
  await context.close();
  const bytes = await new Blob(pixels).arrayBuffer();
  const url = await new Promise((done) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.readAsDataURL(new Blob([bytes]));
  });
  return {times, loudness, size: [video.videoHeight, video.videoWidth], pixels: url.slice(url.indexOf(",") + 1)};
}
"""


@dataclass(frozen=True)
class Received:
    """Frames as shown: times in seconds [F], loudness of the sound (RMS) [F], frames uint8 [F, H, W, 3].

    The frames are black outside of the box that was watched.
    """

    times_s: NDArray[np.float64]
    loudness: NDArray[np.float64]
    frames: NDArray[np.uint8]

    @property
    def fps(self) -> float:
        return (len(self.times_s) - 1) / float(self.times_s[-1] - self.times_s[0])

    @property
    def longest_gap_s(self) -> float:
        return float(np.diff(self.times_s).max())


class Viewer:
    """One page, opened. `numbers` are those that the page shows."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        page.goto(address)
        page.wait_for_selector("#gallery img")

    def start(self, portrait: str) -> None:
        """Picks a portrait, presses Start and waits until the engine delivers frames."""
        self.page.locator(f"#gallery input[value={portrait}]").check(force=True)
        self.page.click("#start")
        self.page.wait_for_selector("#state[data-state=live]", timeout=1000 * MAX_START_S)
        deadline = time.monotonic() + MAX_START_S
        while self.numbers()["fps"] < 10:  # idling alive, at whatever rate the machine allows
            assert time.monotonic() < deadline, f"no frames within {MAX_START_S} s: {self.numbers()}"
            self.page.wait_for_timeout(200)

    def numbers(self) -> dict[str, int]:
        """Frame rate, latency in ms, engine load in percent and repeated frames; 0 where none is shown yet."""
        texts = {name: self.page.text_content(f"#{name}") or "" for name in ("fps", "latency", "load", "repeated")}
        return {name: int(text) if text.isdecimal() else 0 for name, text in texts.items()}

    def collect(self, seconds: float, box: tuple[int, int, int, int]) -> Received:
        """Watches for a while. `box`: top, left, bottom, right in pixels of the video."""
        raw: dict[str, Any] = self.page.evaluate(COLLECT, {"seconds": seconds, "box": list(box)})
        top, left, bottom, right = box
        rgba = np.frombuffer(base64.b64decode(raw["pixels"]), np.uint8).reshape(-1, bottom - top, right - left, 4)
        frames = np.zeros((len(rgba), *raw["size"], 3), np.uint8)
        frames[:, top:bottom, left:right] = rgba[..., :3]
        return Received(np.asarray(raw["times"]) / 1000, np.asarray(raw["loudness"]), frames)


def find_chromium() -> str | None:
    """Path of an installed Chromium, None if there is none."""
    return next((path for name in CHROMIUM_NAMES if (path := shutil.which(name))), None)


@contextlib.contextmanager
def open_viewer(
    address: str, *, microphone: Path | None = None, width: int = 1280, height: int = 800
) -> Generator[Viewer]:
    """Opens the page. `microphone`: a WAV file, played over and over as the microphone."""
    from playwright.sync_api import sync_playwright

    chromium = find_chromium()
    assert chromium, "Chromium is not installed"
    arguments = [
        "--no-sandbox",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        "--autoplay-policy=no-user-gesture-required",
        "--disable-features=WebRtcHideLocalIpsWithMdns",
    ]
    if microphone:
        arguments.append(f"--use-file-for-fake-audio-capture={microphone}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        try:
            yield Viewer(browser.new_page(viewport={"width": width, "height": height}), address)
        finally:
            browser.close()
