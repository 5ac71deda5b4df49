"""Whether everybody can use the page: names and roles, contrast, size of targets, narrow screens, less motion."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Literal

import pytest

from avacast.bench.viewer import find_chromium

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(find_chromium() is None, reason="Chromium is not installed"),
    pytest.mark.timeout(120),
]

MIN_CONTRAST = 4.5
MIN_EDGE_CONTRAST = 3.0
MIN_TARGET_PX = 24
"""WCAG 2.2: 1.4.3 contrast of text, 1.4.11 of the edges of controls, 2.5.8 size of targets."""

WIDTHS = {"small phone": (320, 640), "phone": (390, 844), "tablet": (820, 1180), "desktop": (1280, 800)}

# Runs in the page: every piece of visible text with its colour, and what lies behind it. What is half transparent lies
# over white, which is the worst for white text.
TEXT_CONTRAST = """
() => {
  const parse = (colour) => {
    const [r, g, b, a = 1] = colour.match(/[0-9.]+/g).map(Number);
    return {rgb: [r, g, b], a};
  };
  const over = (top, below) => top.rgb.map((value, i) => value * top.a + below[i] * (1 - top.a));
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => {
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  const behind = (element) => {
    const layers = [];
    for (let node = element; node; node = node.parentElement) {
      const colour = parse(getComputedStyle(node).backgroundColor);
      if (colour.a) layers.push(colour);
      if (node.closest(".screen") === node) break;
      if (colour.a === 1) break;
    }
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const shown = (element) => element.checkVisibility({opacityProperty: true, visibilityProperty: true});
  const own = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  const disabled = (element) => element.closest(":disabled") || element.querySelector(":disabled");
  const texts = [...document.querySelectorAll("body *")].filter((e) => own(e) && shown(e) && !disabled(e)).map((e) => ({
    what: e.textContent.trim().slice(0, 40), ratio: ratio(parse(getComputedStyle(e).color).rgb, behind(e)),
  }));
  const edges = [...document.querySelectorAll("button, select, input[type=text]")]
    .filter((e) => shown(e) && !disabled(e)).map((e) => ({
      what: e.id, ratio: ratio(parse(getComputedStyle(e).borderTopColor).rgb, behind(e.parentElement)),
    }));
  return {texts, edges};
}
"""

TARGETS = """
() => [...document.querySelectorAll("button, select, input, summary")].filter((e) => e.offsetWidth).map((element) => {
  const target = element.labels?.[0]?.checkVisibility() && element.offsetWidth < 24 ? element.labels[0] : element;
  const {width, height} = target.getBoundingClientRect();
  return {what: element.id || element.value || element.tagName, width, height};
})
"""


@pytest.fixture(scope="module")
def page(server: str) -> Generator[Page]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(server)
        page.wait_for_selector("#gallery img")
        # What is shown only while a session runs is shown here, so that it is judged too.
        page.evaluate(
            """() => {
              for (const control of document.querySelectorAll(":disabled")) control.disabled = false;
              for (const hidden of document.querySelectorAll("#unfamiliar, #resume")) hidden.hidden = false;
              for (const details of document.querySelectorAll("details")) details.open = true;
              document.getElementById("message").textContent = "Something is wrong.";
              document.getElementById("caption").innerHTML = "<span class=heard>Hello</span> <span>there</span>";
            }"""
        )
        yield page
        browser.close()


def test_every_control_has_a_name(page: Page):
    """As a screen reader hears it: role and name, computed by the browser."""
    session = page.context.new_cdp_session(page)
    nodes: list[dict[str, Any]] = session.send("Accessibility.getFullAXTree")["nodes"]
    named = {"button", "textbox", "slider", "checkbox", "radio", "combobox", "meter", "image", "img", "Video", "region"}
    found = [
        (node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node.get("ignored")
    ]
    judged = [(role, name) for role, name in found if role in named]
    assert len(judged) > 25
    assert [role for role, name in judged if not name.strip()] == []
    names = [name for _, name in judged]
    for name in ("Start", "Interrupt", "Resume", "Captions", "Mute", "Volume", "Microphone level", "Which microphone"):
        assert name in names, names


def test_the_page_has_its_landmarks_and_live_regions(page: Page):
    """One heading, one main part; state and captions are told politely, errors at once."""
    assert page.get_attribute("html", "lang") == "en"
    assert page.locator("h1").count() == page.locator("main").count() == 1
    assert page.get_attribute("#state", "role") == "status"
    assert page.get_attribute("#caption", "aria-live") == "polite"
    assert page.get_attribute("#message", "role") == "alert"
    assert page.locator("[tabindex]:not([tabindex='-1'])").count() == 0, "the order of Tab is that of the page"
    ids: list[str] = page.evaluate("[...document.querySelectorAll('[id]')].map((element) => element.id)")
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_edges_stand_out(page: Page, scheme: Literal["light", "dark"]):
    page.emulate_media(color_scheme=scheme)
    contrast = page.evaluate(TEXT_CONTRAST)
    assert len(contrast["texts"]) > 40
    assert [text for text in contrast["texts"] if text["ratio"] < MIN_CONTRAST] == []
    assert [edge for edge in contrast["edges"] if edge["ratio"] < MIN_EDGE_CONTRAST] == []


@pytest.mark.parametrize("size", WIDTHS.values(), ids=WIDTHS.keys())
def test_nothing_is_cut_off_and_everything_can_be_hit(page: Page, size: tuple[int, int]):
    page.set_viewport_size({"width": size[0], "height": size[1]})
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    targets = page.evaluate(TARGETS)
    assert len(targets) > 15
    assert [target for target in targets if min(target["width"], target["height"]) < MIN_TARGET_PX] == []


def test_the_focus_is_seen(page: Page):
    page.set_viewport_size({"width": 1280, "height": 800})
    for selector in ("#start", "#text", "#device", "#check", "#volume", "#hear-yourself"):
        page.focus(selector)
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
        assert outline == "3px", selector


def test_whoever_wants_less_motion_gets_none(page: Page):
    moving = "document.getAnimations().length"
    page.emulate_media(reduced_motion="no-preference")
    assert page.evaluate(moving) > 0
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(moving) == 0
