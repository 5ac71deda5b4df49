"""A schedule as SVG text: latent frames downwards, passes of the network to the right, steps by colour.

Colours have a light and a dark set, and the picture brings its own background, so it reads on any page. Knows
rectangles, lines and words; it knows no network and arranges nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from avacast.engine.profile import WindowConfig
from avacast.engine.wavefront import Pass
from avacast.engine.windows import WindowPlan

CELL_WIDTH, ROW_HEIGHT = 10, 9
"""Pixels of one pass, and of one latent frame."""
LEFT, TOP, GAP, BOTTOM = 62, 46, 34, 104

_STEPS = (("#f3c969", "#8a6a14"), ("#e8936a", "#b25a2e"), ("#b85c8e", "#c06a9c"), ("#5a4a9c", "#a99cf0"))
"""Fill of each step, on light and on dark."""
_INKS = {"ink": ("#24292f", "#d7dde4"), "faint": ("#d5d9de", "#3a424c"), "card": ("#fcfcfb", "#161a20")}


@dataclass(frozen=True)
class Panel:
    """One schedule."""

    title: str
    ticks: tuple[tuple[Pass, ...], ...]
    num_left: tuple[int, ...]
    """Latent frames that have left after each tick."""
    lags: tuple[int, ...]
    """For every step, how many windows behind the front it runs."""


def schedule_picture(panels: Sequence[Panel], config: WindowConfig, num_steps: int, num_windows: int) -> str:
    """The whole picture: the panels side by side, the windows named at the left, the legend below."""
    assert num_steps <= len(_STEPS), f"{num_steps} steps have no {num_steps} colours"
    plan = WindowPlan.from_config(config)
    widths = [num_steps * CELL_WIDTH * len(panel.ticks) for panel in panels]
    end = plan.span(num_windows - 1)[1]
    width, height = LEFT + sum(widths) + GAP * len(panels), TOP + ROW_HEIGHT * end + BOTTOM
    parts = [_head(width, height, num_steps), *_window_names(plan, num_windows)]
    left = LEFT
    for panel, panel_width in zip(panels, widths, strict=True):
        parts.append(f'<g transform="translate({left} {TOP})">')
        parts += _panel(panel, config, num_steps, num_windows)
        parts.append("</g>")
        left += panel_width + GAP
    parts += _legend(TOP + ROW_HEIGHT * end + 50, num_steps)
    return "\n".join([*parts, "</svg>", ""])


def _head(width: int, height: int, num_steps: int) -> str:
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            'font-family="Helvetica, Arial, sans-serif" font-size="12" role="img">',
            "<title>Which window takes which denoising step when</title>",
            f"<style>{_style(0, num_steps)} @media (prefers-color-scheme: dark) {{{_style(1, num_steps)}}}</style>",
            '<defs><pattern id="hatch" width="4" height="4" patternUnits="userSpaceOnUse">'
            '<path d="M-1 1 1 -1M0 4 4 0M3 5 5 3" class="hatching"/></pattern>'
            '<marker id="tip" viewBox="0 0 6 6" refX="5" refY="3" markerWidth="6" markerHeight="6" orient="auto">'
            '<path d="M0 0 6 3 0 6z" class="word"/></marker></defs>',
            f'<rect width="{width}" height="{height}" rx="8" class="card"/>',
        ]
    )


def _style(scheme: int, num_steps: int) -> str:
    ink, faint, card = (_INKS[name][scheme] for name in ("ink", "faint", "card"))
    rules = [
        f".card{{fill:{card}}}",
        f".word{{fill:{ink}}}",
        f".grid{{stroke:{faint};fill:none}}",
        f".hatching{{stroke:{card};stroke-width:1.2;fill:none}}",
        f".wait{{stroke:{ink};stroke-width:1.3;fill:none}}",
        f".left{{stroke:{ink};stroke-width:2;fill:none;stroke-dasharray:5 3}}",
        f".cell{{stroke:{card};stroke-width:1}}",
    ]
    return " ".join([*rules, *(f".s{step}{{fill:{_STEPS[step][scheme]}}}" for step in range(num_steps))])


def _window_names(plan: WindowPlan, num_windows: int) -> Iterator[str]:
    """A bracket along the latent frames of each window; two columns, since neighbours overlap."""
    yield _word(8, TOP - 10, "window")
    for window in range(num_windows):
        start, stop = plan.span(window)
        top, bottom = TOP + ROW_HEIGHT * start + 1, TOP + ROW_HEIGHT * stop - 1
        x = 24 + 22 * (window % 2)
        yield f'<path d="M{x + 4} {top}H{x}V{bottom}H{x + 4}" class="wait"/>'
        yield _word(x - 12, (top + bottom) // 2 + 4, str(window))


def _panel(panel: Panel, config: WindowConfig, num_steps: int, num_windows: int) -> Iterator[str]:
    plan = WindowPlan.from_config(config)
    end = plan.span(num_windows - 1)[1]
    height, tick_width = ROW_HEIGHT * end, num_steps * CELL_WIDTH
    yield _word(0, -26, panel.title, weight="bold")
    for tick in range(len(panel.ticks) + 1):
        yield f'<path d="M{tick * tick_width} 0V{height}" class="grid"/>'
    for tick in range(len(panel.ticks)):
        yield _word(tick * tick_width + tick_width // 2, -8, str(tick), anchor="middle")
    for tick, passes in enumerate(panel.ticks):
        for one in passes:
            fused = one.window > 0 and (one.step > 0 or config.fuse_first_step)
            yield from _cell(one, tick_width * tick + CELL_WIDTH * one.step, plan, fused=fused)
    for tick, passes in enumerate(panel.ticks):
        for one in passes:
            yield from _wait(one, tick_width * tick + CELL_WIDTH * one.step, panel.lags, plan, num_windows)
    yield _staircase(panel.num_left, tick_width)
    yield _word(len(panel.ticks) * tick_width // 2, height + 18, "time: a tick with each window's sound", "middle")


def _cell(one: Pass, x: int, plan: WindowPlan, *, fused: bool) -> Iterator[str]:
    """One pass: all latent frames of its window, hatched where it is blended with the window before."""
    start, stop = plan.span(one.window)
    y, height = ROW_HEIGHT * start, ROW_HEIGHT * (stop - start)
    yield f'<rect x="{x}" y="{y}" width="{CELL_WIDTH}" height="{height}" class="cell s{one.step}"/>'
    if fused:
        yield f'<rect x="{x}" y="{y}" width="{CELL_WIDTH}" height="{ROW_HEIGHT * plan.overlap}" fill="url(#hatch)"/>'


def _wait(one: Pass, x: int, lags: Sequence[int], plan: WindowPlan, num_windows: int) -> Iterator[str]:
    """An arrow to a pass that starts from what the next window has made of the overlap at the step before."""
    step = one.step
    if step and lags[step] > lags[step - 1] and one.window + 1 < num_windows:
        y = ROW_HEIGHT * plan.span(one.window + 1)[0] + ROW_HEIGHT * plan.overlap // 2
        yield f'<path d="M{x - CELL_WIDTH // 2} {y}H{x + CELL_WIDTH - 3}" class="wait" marker-end="url(#tip)"/>'


def _staircase(num_left: Sequence[int], tick_width: int) -> str:
    """The line above which everything has left."""
    corners = "".join(f"H{(tick + 1) * tick_width}V{ROW_HEIGHT * left}" for tick, left in enumerate(num_left))
    return f'<path d="M0 0{corners}" class="left"/>'


def _legend(y: int, num_steps: int) -> Iterator[str]:
    x = LEFT
    for step in range(num_steps):
        yield f'<rect x="{x}" y="{y - 11}" width="{CELL_WIDTH}" height="14" class="cell s{step}"/>'
        yield _word(x + 16, y, f"step {step}")
        x += 66
    yield _word(x + 8, y, "A bar is one pass of the network over the latent frames of one window (downwards).")
    y += 20
    yield f'<rect x="{LEFT}" y="{y - 11}" width="{CELL_WIDTH}" height="14" class="s2"/>'
    yield f'<rect x="{LEFT}" y="{y - 11}" width="{CELL_WIDTH}" height="14" fill="url(#hatch)"/>'
    yield _word(LEFT + 16, y, "blended with the window before, at the same step")
    yield f'<path d="M{LEFT + 342} {y - 4}h20" class="wait" marker-end="url(#tip)"/>'
    yield _word(LEFT + 370, y, "waited for: starts from what the next window made of the overlap at the step before")
    y += 20
    yield f'<path d="M{LEFT - 6} {y - 4}h20" class="left"/>'
    yield _word(LEFT + 22, y, "what lies above has left: its frames can be shown")


def _word(x: int, y: int, text: str, anchor: str = "start", *, weight: str = "normal") -> str:
    return f'<text x="{x}" y="{y}" class="word" text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>'
