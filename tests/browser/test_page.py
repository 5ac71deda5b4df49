"""The page itself in a real browser: keyboard, interruption, captions, microphones, the doctor, and what can be read.

Faults are real ones: a browser that refuses the microphone, a server that is killed, addresses that lead nowhere.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
import soundfile
from PIL import Image
from websockets.sync.client import connect

from avacast.bench.live_server import live_server
from avacast.bench.viewer import find_chromium
from avacast.engine.voice import Voice

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(find_chromium() is None, reason="Chromium is not installed"),
    pytest.mark.timeout(180),
]

LONG_TEXT = "I could go on for a long while about this, and nothing would stop me, " * 3
START_MS = 60_000
FAKE_DEVICE = "--use-fake-device-for-media-stream"
ALLOWED, REFUSED = "--use-fake-ui-for-media-stream", "--deny-permission-prompts"
ARGUMENTS = ["--no-sandbox", FAKE_DEVICE, "--autoplay-policy=no-user-gesture-required"]

OpenPage = Callable[..., "Page"]


@pytest.fixture
def open_page() -> Generator[OpenPage]:
    """Opens the page at an address in a browser of its own; keywords are those of a browser context."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browsers: list[Any] = []

        def open_at(address: str, permission: str = ALLOWED, sound: Path | None = None, **context: Any) -> Page:
            heard = [f"--use-file-for-fake-audio-capture={sound}"] if sound else []
            browser = playwright.chromium.launch(executable_path=find_chromium(), args=[*ARGUMENTS, permission, *heard])
            browsers.append(browser)
            page = browser.new_page(**{"viewport": {"width": 1280, "height": 800}, **context})
            page.goto(address)
            page.wait_for_selector("#gallery img")
            return page

        yield open_at
        for browser in browsers:
            for page in browser.contexts[0].pages:
                page.close()  # as a viewer would, so that the page takes its leave of the server
            browser.close()


def until(page: Page, expression: str, argument: object = None, timeout_s: float = 10) -> None:
    """Waits until an expression holds in the page, whose policy keeps Playwright's own way of waiting out."""
    deadline_s = time.monotonic() + timeout_s
    while not page.evaluate(expression, argument):
        assert time.monotonic() < deadline_s, f"not within {timeout_s} s: {expression}"
        page.wait_for_timeout(30)


def start(page: Page) -> str:
    """Presses Start and waits until the avatar is live; returns the session's name."""
    with page.expect_response(lambda response: response.url.endswith("/api/sessions")) as made:
        page.click("#start")
    page.wait_for_selector("#state[data-state=live]", timeout=START_MS)
    page.wait_for_selector("#video.showing", timeout=START_MS)
    return made.value.json()["id"]


def stop(page: Page, server: str, session: str) -> None:
    """Ends the session and waits until its place is free for the next test."""
    page.click("#start")
    while httpx.delete(f"{server}/api/sessions/{session}").status_code != httpx.codes.NOT_FOUND:
        pass


def stats_of(server: str, session: str) -> dict[str, Any]:
    """The server's own numbers, right now."""
    with connect(f"{server.replace('http', 'ws')}/api/sessions/{session}/events") as websocket:
        return json.loads(websocket.recv(5))["stats"]


def step(page: Page, name: str, mark: str, timeout_s: float = 10) -> str:
    """Waits until the doctor gives a step this mark; returns what it says and advises."""
    found = page.locator(f"#doctor li[data-step='{name}'][data-mark={mark}]")
    found.wait_for(state="attached", timeout=1000 * timeout_s)
    return found.text_content() or ""


def diagnose(page: Page, facts: dict[str, Any]) -> dict[str, dict[str, str]]:
    """What the doctor makes of these facts, by step."""
    steps = page.evaluate("async (facts) => (await import('/page/diagnosis.js')).diagnose(facts)", facts)
    return {step["name"]: step for step in steps}


def focused(page: Page) -> str:
    return page.evaluate("document.activeElement.id || document.activeElement.name || document.activeElement.tagName")


def tab_to(page: Page, name: str, max_tabs: int = 12) -> None:
    for _ in range(max_tabs):
        if focused(page) == name:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{name} is not reached by Tab, but {focused(page)}")


def test_captions_of_a_script_without_blanks_have_none(server: str, open_page: OpenPage):
    """They stand where the server says that they do, whatever the script."""
    shown = open_page(server).evaluate(
        """async (caption) => {
          const { Captions } = await import("/page/captions.js");
          const element = document.createElement("p");
          new Captions(element).show(caption);
          return [element.textContent.trim(), element.querySelectorAll(".heard").length];
        }""",
        {"utterance": "u", "words": ["我", "是", "Ada。", "Hello", "there."], "joined": [1, 2], "num_heard": 2},
    )
    assert shown == ["我是Ada。 Hello there.", 2]


def test_everything_can_be_done_by_keyboard_alone(server: str, open_page: OpenPage):
    """Choose, start, type, interrupt with Escape from within the text, switch captions off, stop."""
    page = open_page(server)
    with page.expect_response(lambda response: response.url.endswith("/api/sessions")) as made:
        tab_to(page, "start")
        page.keyboard.press("Enter")
    page.wait_for_selector("#video.showing", timeout=START_MS)
    session: str = made.value.json()["id"]
    tab_to(page, "text")
    page.keyboard.type(LONG_TEXT)
    page.keyboard.press("Enter")
    page.wait_for_selector("#caption .heard")
    assert stats_of(server, session)["speech_left_s"] > 1
    page.keyboard.press("Escape")
    page.wait_for_selector("#resume", state="visible")
    assert stats_of(server, session)["speech_left_s"] == 0
    for control, state in (("captions", "false"), ("mute", "true")):
        page.focus("#resume")
        tab_to(page, control)
        page.keyboard.press("Space")
        assert page.get_attribute(f"#{control}", "aria-pressed") == state
    page.focus("#upload")
    for control in ("device", "barge-in", "hear-yourself", "SUMMARY"):
        tab_to(page, control)
    page.keyboard.press("Enter")
    assert page.locator("#doctor li").first.is_visible()
    tab_to(page, "check")
    page.focus("#start")
    stop(page, server, session)


def test_the_avatar_falls_silent_when_its_viewer_begins_to_speak(server: str, open_page: OpenPage, tmp_path: Path):
    """Only once it is asked to; what it was saying can be taken up again."""
    speech = Voice().speak("Wait a moment, that is not what I wanted to know.")
    pause = np.zeros(speech.sample_rate_hz, np.float32)
    soundfile.write(tmp_path / "voice.wav", np.concatenate([pause, speech.samples, pause]), speech.sample_rate_hz)
    page = open_page(server, sound=tmp_path / "voice.wav")
    session = start(page)
    page.fill("#text", LONG_TEXT)
    page.click("#speak")
    page.wait_for_selector("#caption .heard")
    page.click("#microphone")
    page.wait_for_timeout(4_000)
    assert stats_of(server, session)["epoch"] == 0
    page.check("#barge-in")
    page.wait_for_selector("#resume", state="visible", timeout=15_000)
    assert stats_of(server, session)["epoch"] == 1
    page.uncheck("#barge-in")
    page.click("#resume")
    page.wait_for_selector("#caption .heard")
    stop(page, server, session)


def test_an_interruption_stops_the_sound(server: str, open_page: OpenPage):
    """The server says so: nothing waits, the epoch is the next, and no sound of the text is left; captions are gone."""
    page = open_page(server)
    session = start(page)
    before = stats_of(server, session)
    page.fill("#text", LONG_TEXT)
    page.click("#speak")
    page.wait_for_selector("#caption .heard")
    assert stats_of(server, session)["hearing"] == "text"
    with page.expect_response("**/clear") as cleared:
        page.click("#interrupt")
    assert cleared.value.json()["playback_position"] > 0
    after = stats_of(server, session)
    assert after["epoch"] == before["epoch"] + 1
    assert (after["speech_left_s"], after["hearing"]) == (0, "silence")
    until(page, "document.querySelectorAll('#caption span').length === 0")
    assert focused(page) == "resume", "the focus stays where the button was"
    stop(page, server, session)


def test_what_was_interrupted_is_resumed(server: str, open_page: OpenPage):
    page = open_page(server)
    session = start(page)
    page.fill("#text", LONG_TEXT)
    page.click("#speak")
    page.wait_for_selector("#caption .heard")
    page.keyboard.press("Escape")
    with page.expect_response("**/resume") as resumed:
        page.click("#resume")
    assert resumed.value.ok, resumed.value.text()
    page.wait_for_timeout(300)
    assert stats_of(server, session)["hearing"] == "text"
    assert page.locator("#interrupt").is_visible()
    stop(page, server, session)


def test_captions_show_the_words_as_they_are_spoken(server: str, open_page: OpenPage):
    """A line stands whole, its words light up one after the other, and the next sentence takes its place."""
    page = open_page(server)
    session = start(page)
    page.fill("#text", "One two three four. Five six!")
    page.click("#speak")
    page.wait_for_selector("#caption .heard")
    assert (page.text_content("#caption") or "").split() == ["One", "two", "three", "four."]
    first = page.locator("#caption .heard").count()
    assert first < 4
    until(page, "n => document.querySelectorAll('#caption .heard').length > n", first)
    until(page, "document.querySelector('#caption').textContent.trim() === 'Five six!'")
    until(page, "document.querySelectorAll('#caption span').length === 0")
    page.click("#captions")
    assert page.locator("#caption").is_hidden()
    stop(page, server, session)


def test_microphones_are_listed_and_the_one_that_is_on_shows_its_level(server: str, open_page: OpenPage):
    page = open_page(server)
    session = start(page)
    page.click("#microphone")
    page.wait_for_selector("#microphone[aria-pressed=true]")
    names = page.locator("#device option").all_text_contents()
    assert any("Fake" in name for name in names), names
    until(page, "Number(document.getElementById('level').getAttribute('aria-valuenow')) > 5")
    page.select_option("#device", index=len(names) - 1)
    page.wait_for_selector("#microphone[aria-pressed=true]")
    step(page, "Microphone", "ok")
    page.click("#microphone")
    page.wait_for_selector("#microphone[aria-pressed=false]")
    assert page.get_attribute("#level", "aria-valuenow") == "0"
    stop(page, server, session)


def test_latency_and_skew_are_measured_and_drawn(server: str, open_page: OpenPage):
    page = open_page(server)
    session = start(page)
    until(page, "document.getElementById('skew').textContent !== '–'", timeout_s=30)
    page.wait_for_timeout(2_500)
    assert int(page.text_content("#latency") or "") > 40
    for chart in ("latency-chart", "skew-chart"):
        line = page.get_attribute(f"#{chart} .line", "d") or ""
        assert line.count("L") >= 1, line
        assert "over the last minute" in (page.get_attribute(f"#{chart}", "aria-label") or "")
    stop(page, server, session)


def watch_events(page: Page) -> list[Any]:
    """The page's websockets for events, as they are opened from now on."""
    sockets: list[Any] = []

    def pass_on(socket: Any) -> None:
        sockets.append(socket)
        socket.connect_to_server()

    page.route_web_socket("**/events", pass_on)
    return sockets


def test_events_that_break_are_asked_for_again(server: str, open_page: OpenPage):
    """A proxy may end a quiet websocket; the picture never stopped, and captions go on."""
    page = open_page(server)
    sockets = watch_events(page)
    session = start(page)
    sockets[0].close()
    deadline_s = time.monotonic() + 10
    while len(sockets) < 2:
        assert time.monotonic() < deadline_s, "the events were not asked for again"
        page.wait_for_timeout(30)
    page.fill("#text", "Here we are again.")
    page.click("#speak")
    page.wait_for_selector("#caption .heard")
    assert page.get_attribute("#state", "data-state") == "live"
    stop(page, server, session)


def test_a_session_that_ended_while_the_events_were_away_is_told_as_ended(server: str, open_page: OpenPage):
    page = open_page(server)
    sockets = watch_events(page)
    session = start(page)
    sockets[0].close()
    while httpx.delete(f"{server}/api/sessions/{session}").status_code != httpx.codes.NOT_FOUND:
        pass
    page.wait_for_selector("#state[data-state=failed]")
    assert page.is_enabled("#start")


def test_start_asks_again_for_portraits_that_did_not_come(server: str, open_page: OpenPage):
    page = open_page(server)
    page.route("**/api/portraits", lambda route: route.abort())
    page.reload()
    until(page, "document.getElementById('message').textContent.includes('does not answer')")
    assert page.locator("#gallery img").count() == 0
    page.unroute("**/api/portraits")
    session = start(page)
    assert page.locator("#gallery img").count() == 8
    stop(page, server, session)


def test_start_cannot_be_pressed_before_it_would_do_something(server: str, open_page: OpenPage):
    page = open_page(server)
    page.route("**/page/app.js", lambda route: route.abort())
    page.reload()
    assert page.is_disabled("#start")
    assert page.text_content("#state") == "Loading …"


def test_another_portrait_can_be_chosen_while_the_avatar_is_live(server: str, open_page: OpenPage):
    """A new session takes the place of the old one, which is gone; microphone and focus stay as they were."""
    page = open_page(server)
    before = start(page)
    page.click("#microphone")
    page.wait_for_selector("#microphone[aria-pressed=true]")
    page.focus("#gallery input[value=ada]")
    with page.expect_response(lambda response: response.url.endswith("/api/sessions")) as made:
        page.keyboard.press("ArrowRight")
    session: str = made.value.json()["id"]
    page.wait_for_selector("#video.showing", timeout=START_MS)
    page.wait_for_selector("#microphone[aria-pressed=true]")
    assert session != before
    assert httpx.delete(f"{server}/api/sessions/{before}").status_code == httpx.codes.NOT_FOUND
    assert page.evaluate("document.activeElement.value") == "bruno"
    assert "bruno" in (page.get_attribute("#poster", "src") or "")
    stop(page, server, session)


def saved(image: Image.Image, kind: str) -> bytes:
    content = io.BytesIO()
    image.save(content, kind)
    return content.getvalue()


@pytest.mark.parametrize(
    ("name", "kind", "size"),
    [("small.png", "PNG", (300, 200)), ("moving.gif", "GIF", (90, 90)), ("huge.jpg", "JPEG", (5000, 2500))],
)
def test_any_picture_that_the_browser_reads_can_be_used(
    server: str, open_page: OpenPage, name: str, kind: str, size: tuple[int, int]
):
    """What the server takes is sent as it is; what is larger, or of another format, is drawn anew in the browser."""
    page = open_page(server)
    content = saved(Image.new("RGB", size, (200, 90, 60)), kind)
    mime = f"image/{kind.lower()}"
    with page.expect_response(lambda response: response.request.method == "PUT") as kept:
        page.set_input_files("#upload", {"name": name, "mimeType": mime, "buffer": content})
    assert kept.value.status == httpx.codes.CREATED
    assert (kept.value.request.headers["content-type"] == mime) == (kind == "PNG")
    chosen = f"#gallery label:has(:checked) img[src='{kept.value.json()['url']}']"
    page.wait_for_selector(chosen)
    picture = page.locator(chosen)
    assert page.text_content("#gallery label:has(:checked) span") == name.partition(".")[0]
    shape = picture.evaluate(
        "async (image) => { await image.decode(); return image.naturalWidth / image.naturalHeight; }"
    )
    assert shape == pytest.approx(size[0] / size[1], rel=0.01)


def test_a_picture_can_be_dropped_on_the_page(server: str, open_page: OpenPage):
    page = open_page(server)
    page.evaluate(
        """async () => {
          const dataTransfer = new DataTransfer();
          const picture = await (await fetch("/api/portraits/bruno")).blob();
          dataTransfer.items.add(new File([picture], "mine.png", {type: "image/png"}));
          document.body.dispatchEvent(new DragEvent("drop", {bubbles: true, cancelable: true, dataTransfer}));
        }"""
    )
    page.wait_for_selector("#gallery label:has(:checked) span:text-is('mine')")


def test_a_file_that_is_no_picture_is_told_so(server: str, open_page: OpenPage):
    page = open_page(server)
    page.set_input_files("#upload", {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"hello"})
    until(page, "document.getElementById('message').textContent.startsWith('The file is no picture')")
    assert page.locator("#gallery img").count() == 8


@pytest.mark.parametrize("size", [(256, 256), (832, 480), (480, 832)])
def test_the_picture_has_the_shape_of_the_models(server: str, open_page: OpenPage, size: tuple[int, int]):
    """Nothing of it is cut off, it stands in the middle, and what stands below it begins where it does."""
    page = open_page(server)
    ready = {"model": "wide", "width": size[0], "height": size[1], "fps": 25}
    page.route("**/ready", lambda route: route.fulfill(json=ready))
    page.reload()
    until(page, "document.getElementById('model').textContent.startsWith('wide')")
    assert page.locator("#pocket").is_hidden(), "what the pocket model cannot do is no other model's fault"
    video, screen, controls = (page.locator(name).bounding_box() for name in ("#video", ".screen", ".controls"))
    assert video
    assert screen
    assert controls
    assert video["width"] / video["height"] == pytest.approx(size[0] / size[1], rel=0.01)
    assert video["x"] + video["width"] / 2 == pytest.approx(screen["x"] + screen["width"] / 2, abs=1)
    assert video["width"] <= screen["width"] + 1
    assert (screen["x"], screen["width"]) == (controls["x"], controls["width"])


def test_the_doctor_is_content_when_all_works(server: str, open_page: OpenPage):
    page = open_page(server)
    session = start(page)
    for name in ("Browser", "Server", "Network path", "Picture and sound"):
        step(page, name, "ok", timeout_s=20)
    stop(page, server, session)


def test_the_doctor_names_a_refused_microphone(server: str, open_page: OpenPage):
    page = open_page(server, permission=REFUSED)
    session = start(page)
    page.click("#microphone")
    assert "Allow it beside the page's address" in step(page, "Microphone", "fail")
    assert page.get_attribute("#doctor", "open") is not None
    assert "not allowed" in (page.text_content("#message") or "")
    page.fill("#text", "Typing goes on.")
    page.click("#speak")
    page.wait_for_selector("#caption .heard")
    stop(page, server, session)


def test_the_doctor_names_a_server_that_has_gone(open_page: OpenPage):
    """Killed in the middle of a session, and still away when Start is pressed again."""
    with live_server() as address:
        page = open_page(address)
        start(page)
    page.wait_for_selector("#state[data-state=failed]")
    assert "avacast serve" in step(page, "Server", "fail")
    page.click("#start")
    page.wait_for_selector("#state[data-state=failed]")
    assert "does not answer" in (page.text_content("#message") or "")
    page.click("#check")
    step(page, "Server", "fail")


def test_the_doctor_names_a_network_without_a_way(server: str, open_page: OpenPage):
    """The answer names addresses that lead nowhere (RFC 5737): the search fails, and a relay is advised."""
    page = open_page(server)

    def mislead(route: Any) -> None:
        answer = route.fetch()
        body = answer.json()
        lines = [line.split(" ") for line in body["sdp"].split("\r\n")]
        moved = [[*line[:4], "192.0.2.1", *line[5:]] if line[0].startswith("a=candidate") else line for line in lines]
        route.fulfill(response=answer, json={**body, "sdp": "\r\n".join(" ".join(line) for line in moved)})

    page.route("**/offer", mislead)
    page.click("#start")
    page.wait_for_selector("#state[data-state=failed]", timeout=60_000)
    assert "--ice-server turn:" in step(page, "Network path", "fail")


def test_the_doctor_names_a_relay_that_does_not_answer(server: str, open_page: OpenPage):
    page = open_page(server)
    relay = {"urls": ["turn:127.0.0.1:9?transport=udp"], "username": "a", "credential": "b"}
    page.route("**/v1/ice-servers", lambda route: route.fulfill(json=[relay]))
    page.click("#doctor summary")
    page.click("#check")
    step(page, "Relay", "warn", timeout_s=30)
    session = start(page)
    step(page, "Network path", "ok")
    stop(page, server, session)


def test_the_doctor_names_a_server_without_a_free_place(server: str, open_page: OpenPage):
    page = open_page(server)
    others: list[str] = []
    while (made := httpx.post(f"{server}/api/sessions", json={"portrait": "ada"})).is_success:
        others.append(made.json()["id"])
    page.click("#start")
    assert "another viewer" in step(page, "Model", "fail")
    assert "sessions are in use" in (page.text_content("#message") or "")
    for session in others:
        while httpx.delete(f"{server}/api/sessions/{session}").status_code != httpx.codes.NOT_FOUND:
            pass


def test_a_picture_that_the_model_was_not_made_for_is_said_so(server: str, open_page: OpenPage):
    """For noise, which no model was made for; and not for a portrait of the gallery."""
    page = open_page(server)
    session = start(page)
    page.wait_for_timeout(1_500)
    assert page.locator("#unfamiliar").is_hidden()
    stop(page, server, session)
    noise = saved(Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8)), "PNG")
    page.set_input_files("#upload", {"name": "noise.png", "mimeType": "image/png", "buffer": noise})
    page.wait_for_selector("#gallery input[value^=upload]:checked", state="attached")
    session = start(page)
    page.wait_for_selector("#unfamiliar", state="visible")
    assert page.text_content("#unfamiliar") == (
        "This model was made for drawn faces; yours is shown as well as it can be."
    )
    stop(page, server, session)


@pytest.mark.parametrize(
    ("facts", "name", "mark"),
    [
        ({"webrtc": False}, "Browser", "fail"),
        ({"server": "silent"}, "Server", "fail"),
        ({"server": "answers", "modelError": "The engine is not ready"}, "Model", "fail"),
        ({"state": "preparing", "seconds": 2}, "Model", "wait"),
        ({"state": "preparing", "seconds": 40}, "Model", "warn"),
        ({"state": "live", "load": 1.4, "fps": 12}, "Model", "warn"),
        ({"state": "live", "load": 0.4, "fps": 25, "model": {"name": "pocket"}}, "Model", "ok"),
        ({"state": "ended", "reason": {"code": "engine_failed", "message": "the engine stopped"}}, "Model", "fail"),
        ({"state": "connecting", "ice": "checking", "seconds": 1}, "Network path", "wait"),
        ({"state": "connecting", "ice": "checking", "seconds": 9}, "Network path", "warn"),
        ({"ice": "failed"}, "Network path", "fail"),
        ({"ice": "connected", "relayed": True}, "Network path", "ok"),
        ({"iceServers": []}, "Relay", "none"),
        ({"iceServers": [{"urls": "stun:host"}]}, "Relay", "none"),
        (
            {"iceServers": [{"urls": "turn:host"}], "candidateErrors": [{"url": "turn:host", "code": 401}]},
            "Relay",
            "fail",
        ),
        ({"iceServers": [{"urls": ["turns:host"]}], "relays": 1}, "Relay", "ok"),
        ({"state": "live", "connected": True, "stillS": 0.1}, "Picture and sound", "ok"),
        ({"state": "live", "connected": True, "stillS": 9, "bytes": 0, "fps": 25}, "Picture and sound", "fail"),
        ({"state": "live", "connected": True, "stillS": 9, "bytes": 900, "fps": 25}, "Picture and sound", "fail"),
        ({"microphone": "missing"}, "Microphone", "fail"),
        ({"microphone": "busy"}, "Microphone", "fail"),
        ({"microphone": "insecure"}, "Microphone", "fail"),
        ({}, "Microphone", "none"),
    ],
)
def test_each_fault_has_its_step(blank_page: Page, facts: dict[str, Any], name: str, mark: str):
    """Whatever fails says what to do; nothing that works does. No other step fails for it."""
    steps = diagnose(blank_page, facts)
    assert steps[name]["mark"] == mark, steps[name]
    assert steps[name]["text"]
    assert bool(steps[name].get("remedy")) == (mark in ("warn", "fail"))
    assert [other for other, found in steps.items() if found["mark"] == "fail" and other != name] == []


@pytest.fixture(scope="module")
def blank_page(server: str) -> Generator[Page]:
    """The page in one browser for all tests that only call its modules or read it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=[*ARGUMENTS, ALLOWED])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(server)
        page.wait_for_selector("#gallery img")
        yield page
        browser.close()
