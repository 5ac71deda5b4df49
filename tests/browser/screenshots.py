"""Pictures of the page in all its states, to be looked at: `python tests/browser/screenshots.py FOLDER`.

Set AVACAST_BUNDLE to see another model than the embedded one.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

from avacast.bench.live_server import live_server
from avacast.bench.viewer import find_chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "has_touch": True,
    "is_mobile": True,
    "device_scale_factor": 2,
}
ARGUMENTS = ["--no-sandbox", "--use-fake-device-for-media-stream", "--autoplay-policy=no-user-gesture-required"]
TEXT = "Hello, I am Ada. I am made on your own machine, picture by picture, while we talk. Ask me something!"
SETTLE_MS = 9_000


def open_page(browser: Browser, address: str, **context: Any) -> Page:
    page = browser.new_page(**context)
    page.goto(address)
    page.wait_for_selector("#gallery img")
    page.wait_for_timeout(700)
    return page


def start(page: Page, portrait: str = "ada") -> None:
    page.check(f"#gallery input[value^={portrait}]", force=True)
    page.click("#start")
    page.wait_for_selector("#video.showing", timeout=60_000)
    page.wait_for_timeout(SETTLE_MS)


def speak(page: Page) -> None:
    page.fill("#text", TEXT)
    page.click("#speak")
    page.wait_for_selector("#caption .heard:nth-child(4)")


def leave(page: Page) -> None:
    page.click("#start")
    page.wait_for_timeout(500)
    page.context.close()


def usual(browser: Browser, address: str, folder: Path, name: str, context: dict[str, Any]) -> None:
    """Idle and speaking, light and dark, the whole page once, and the picture that is not a drawn face."""
    page = open_page(browser, address, **context)
    page.screenshot(path=folder / f"{name}-idle.png")
    start(page)
    page.click("#microphone")
    speak(page)
    page.screenshot(path=folder / f"{name}-speaking.png")
    page.emulate_media(color_scheme="dark")
    page.screenshot(path=folder / f"{name}-dark.png")
    page.screenshot(path=folder / f"{name}-dark-whole.png", full_page=True)
    page.emulate_media(color_scheme="light")
    speak(page)  # a busy machine takes its time for the pictures above
    page.click("#interrupt")
    page.wait_for_selector("#resume", state="visible")
    page.screenshot(path=folder / f"{name}-interrupted.png")
    page.click("#start")
    content = io.BytesIO()
    tiles = np.random.default_rng(0).integers(0, 255, (20, 20, 3), np.uint8)
    Image.fromarray(tiles.repeat(16, 0).repeat(16, 1)).save(content, "PNG")
    page.set_input_files("#upload", {"name": "tiles.png", "mimeType": "image/png", "buffer": content.getvalue()})
    page.wait_for_selector("#gallery input[value^=upload]:checked", state="attached")
    start(page, "upload")
    page.screenshot(path=folder / f"{name}-unfamiliar.png")
    leave(page)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:

        def launch(permission: str) -> Browser:
            return playwright.chromium.launch(executable_path=find_chromium(), args=[*ARGUMENTS, permission])

        browser, refusing = launch("--use-fake-ui-for-media-stream"), launch("--deny-permission-prompts")
        bundle = os.environ.get("AVACAST_BUNDLE")
        with live_server(Path(bundle) if bundle else None) as address:
            usual(browser, address, folder, "desktop", DESKTOP)
            usual(browser, address, folder, "phone", PHONE)
            refused = open_page(refusing, address, **DESKTOP)
            start(refused)
            refused.click("#microphone")
            refused.wait_for_selector("#doctor[open]")
            refused.screenshot(path=folder / "desktop-refused.png", full_page=True)
        refused.wait_for_selector("#state[data-state=failed]")
        refused.screenshot(path=folder / "desktop-dead.png", full_page=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
