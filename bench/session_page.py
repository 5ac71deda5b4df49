"""A page that measures a session from the viewer's side: one clock for what is done to it and what is seen and heard.

It speaks the server's own interface from within a real Chromium: offer and answer, the speech websocket, clear. Knows
that interface; knows nothing of the product's page, and judges nothing (`session_figures`).
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from avacast.bench.session_script import MAX_OPEN_MS, SCRIPT
from avacast.bench.viewer import find_chromium
from avacast.engine.errors import Unavailable
from avacast.engine.mouth import Box

if TYPE_CHECKING:
    from playwright.sync_api import Page

RATE_HZ = 48_000


@dataclass(frozen=True)
class Noted:
    """What was written down in a stretch of time. All times are milliseconds of the page's one clock."""

    log: list[dict[str, Any]]
    """Events, each with `name`, `at` and what came with it."""
    stats: list[dict[str, Any]]
    """The browser's own reports on the received `audio` and `video`, every half a second, each with `at`."""
    frame_times: NDArray[np.float64]
    frames: NDArray[np.uint8]
    """[F, H, W, 3], black outside of the box."""
    sound: NDArray[np.float32]
    """[N] at 48 kHz, as it was played."""
    sound_start: float
    """When sound[0] was played."""
    lost: float
    """Of the sound that was played, what was not kept: times in it are that much wrong at most."""

    def time_of(self, name: str) -> float:
        """When the first event of this name was. Raises Unavailable when there was none."""
        return float(self.event(name)["at"])

    def event(self, name: str) -> dict[str, Any]:
        """The first event of this name. Raises Unavailable when there was none."""
        for event in self.log:
            if event["name"] == name:
                return event
        seen = ", ".join(event["name"] for event in self.log) or "nothing"
        raise Unavailable(f"the server never told {name!r}, but {seen}; is another program using the machine?")


class SessionPage:
    """One page; sessions are opened on it one after the other."""

    def __init__(self, page: Page, address: str) -> None:
        self._page = page
        self._box: Box = (0, 0, 1, 1)
        page.goto(f"{address}/live")
        page.evaluate(SCRIPT)

    def open(self, portrait: str, box: Box) -> None:
        """Opens a session and waits for its first picture; `box` is what will be kept of the pictures."""
        self._box = box
        self._page.evaluate("([portrait, box]) => bench.open(portrait, box)", [portrait, list(box)])

    def speak(self, pcm: NDArray[np.int16], rate_hz: int, name: str) -> None:
        """Sends speech of at most 10 s, int16 [N], through the websocket, as fast as it goes."""
        self._page.evaluate("([pcm, rate, name]) => bench.speak(pcm, rate, name)", [_base64(pcm), rate_hz, name])

    def talk(self, pcm: NDArray[np.int16], rate_hz: int) -> None:
        """Says int16 [N] into the microphone, once it is connected; the event `talk` tells when it `begins`."""
        self._page.evaluate("([pcm, rate]) => bench.talk(pcm, rate)", [_base64(pcm), rate_hz])

    def clear(self) -> None:
        self._page.evaluate("() => bench.clear()")

    def wait(self, seconds: float) -> None:
        self._page.wait_for_timeout(1000 * seconds)

    def wait_for(self, name: str) -> None:
        """Waits until an event of this name is in the log."""
        self._page.wait_for_function(
            "(name) => bench.log.some((event) => event.name === name)", arg=name, polling=20, timeout=MAX_OPEN_MS
        )

    def collect(self) -> Noted:
        """What was written down since the last time."""
        return noted(self._page.evaluate("() => bench.collect()"), self._box)

    def close(self) -> None:
        """Ends the session."""
        self._page.evaluate("() => bench.close()")


def noted(raw: dict[str, Any], box: Box) -> Noted:
    """What the page's `collect` returns, in arrays; the pixels are those of `box`."""
    top, left, bottom, right = box
    frames = np.zeros((len(raw["frames"]), *raw["size"], 3), np.uint8)
    pixels = np.frombuffer(base64.b64decode(raw["pixels"]), np.uint8)
    frames[:, top:bottom, left:right] = pixels.reshape(-1, bottom - top, right - left, 4)[..., :3]
    sound = np.frombuffer(base64.b64decode(raw["sound"]), np.float32)
    start, lost = np.nan, 0.0
    if raw["chunks"]:
        read, sizes, rates = np.array(raw["chunks"]).T
        assert (rates == RATE_HZ).all(), f"the browser plays at {rates[0]} Hz"
        lengths = sizes * 1000 / RATE_HZ
        lost = float(read[-1] - read[0] - lengths[1:].sum())
        # A chunk is read after it was played, now sooner and now later: the soonest tells when.
        start = float((read - np.cumsum(lengths)).min())
    return Noted(raw["log"], raw["stats"], np.array(raw["frames"]), frames, sound, start, lost)


@contextlib.contextmanager
def session_page(address: str) -> Generator[SessionPage]:
    """Opens the page in a headless Chromium. Raises Unavailable where that is not installed."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise Unavailable("this needs playwright; install it with: pip install 'avacast[dev]'") from error
    chromium = find_chromium()
    if chromium is None:
        raise Unavailable("Chromium is not installed; on Debian or Ubuntu: apt install chromium")
    arguments = [
        "--no-sandbox",
        "--autoplay-policy=no-user-gesture-required",
        "--disable-features=WebRtcHideLocalIpsWithMdns",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        try:
            yield SessionPage(browser.new_page(), address)
        finally:
            browser.close()


def _base64(pcm: NDArray[np.int16]) -> str:
    return base64.b64encode(pcm.astype("<i2").tobytes()).decode()
