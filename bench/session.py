"""`avacast bench session`: what a viewer of a live session gets, measured in a real Chromium, beside its targets.

A real server with the model is started for it. Knows the order of the measurement and the table; how the browser
measures is `session_page`'s, what its notes mean is `session_figures`'. Reports and judges nothing.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from avacast.bench import session_figures as figures
from avacast.bench.live_server import live_server
from avacast.bench.model import BundleOption, JsonOption
from avacast.bench.result import Result
from avacast.bench.session_page import RATE_HZ, SessionPage, session_page
from avacast.bench.session_table import spread, table
from avacast.engine.mouth import Box

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SETTLE_S = 6
"""A browser's audio runs up to 230 ms late in the first seconds after connecting."""

AFTERWARDS_S = 2.2
MAX_LOST_MS = 20
"""Where the browser was too busy to keep the sound that it played, an interruption is not judged."""

PAUSE_S = 1.0
SPEECH = "Oh, hello! I would like to show you how far my mouth can open while I am talking to all of you around here."
SENTENCES = (
    "Good morning, how are you today? I hope you are well.",
    "My name is Ada, and I like to talk to people about the weather and about their holidays.",
    "We can open our mouths wide, or hardly at all, and nobody minds.",
    "Please do not interrupt me while I am speaking, for I always forget what I was about to say.",
)


@dataclass(frozen=True)
class Voices:
    """One sentence, int16 [N] at `rate_hz` as it is sent and float32 [N] at 48 kHz as it is heard."""

    pcm: NDArray[np.int16]
    rate_hz: int
    heard: NDArray[np.float32]

    @classmethod
    def of(cls, text: str) -> Voices:
        import soxr

        from avacast.engine.voice import Voice

        speech = Voice().speak(text)
        heard = soxr.resample(speech.samples, speech.sample_rate_hz, RATE_HZ).astype(np.float32)
        return cls((speech.samples * 32_767).astype(np.int16), speech.sample_rate_hz, heard)


def session(
    minutes: Annotated[float, typer.Option(min=1, max=60, help="How long to watch, about.")] = 3.0,
    portrait: Annotated[str, typer.Option(help="A name from the gallery.")] = "ada",
    connections: Annotated[int, typer.Option(min=1, max=100, help="Sessions opened for the set-up time.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="When the interruptions come.")] = 0,
    bundle: BundleOption = None,
    json_file: JsonOption = None,
) -> None:
    """Watch a live session in a real Chromium: set-up time, interruptions, lip sync, freezes, idle transitions.

    A server is started with the model, sessions are opened, and one of them is spoken to and interrupted at random
    moments; then somebody talks into its microphone. Needs Chromium and playwright, which the extra `dev` brings. A
    machine that is busy with other work shows it in the result.

        avacast bench session --minutes 10 --json session.json

    Prints a table with the target beside each figure, and the result as one line of JSON at the end. Skew is positive
    where sound is early.
    """
    from rich.console import Console

    box = _mouth_box(portrait)
    with _progress(60 * minutes) as report:
        with live_server(bundle) as address, session_page(address) as page:
            measured = measure(page, portrait, box, 60 * minutes, connections, random.Random(seed), report)
        measured |= transitions(bundle, portrait, report)
    Console().print(table(measured), highlight=False)
    result = Result.of("session", {"minutes": minutes, "portrait": portrait, "seed": seed, **measured})
    if json_file:
        result.save(json_file)
    print(result.to_json())


def measure(
    page: SessionPage,
    portrait: str,
    box: Box,
    seconds: float,
    connections: int,
    chance: random.Random,
    report: Callable[[str], None],
) -> dict[str, Any]:
    """All that is measured in the browser, in about `seconds`."""
    started, voice = time.monotonic(), Voices.of(SPEECH)
    report("connecting")
    measured: dict[str, Any] = connect(page, portrait, box, connections)
    page.open(portrait, box)
    page.wait(SETTLE_S)
    page.collect()
    report("interrupting")
    measured |= interrupt(page, box, voice, lambda: time.monotonic() - started < seconds - 20, chance)
    report("talking")
    page.talk(voice.pcm, voice.rate_hz)
    page.wait(len(voice.heard) / RATE_HZ + 2 + figures.MAX_MICROPHONE_LAG_S + 1)
    noted = page.collect()
    begins = float(noted.event("talk")["begins"])
    lag_ms, heard_ms, correlation = figures.microphone_lag_ms(noted, voice.heard, begins, box)
    page.close()
    return measured | {
        "microphone_to_mouth_ms": lag_ms,
        "microphone_to_sound_ms": heard_ms,
        "microphone_correlation": correlation,
    }


def connect(page: SessionPage, portrait: str, box: Box, num: int) -> dict[str, Any]:
    """Set-up times of `num` sessions, in ms."""
    names = {"click_to_picture": "click", "offer_to_picture": "offer"}
    times: dict[str, list[float]] = {name: [] for name in (*names, "offer_to_connected")}
    for _ in range(num):
        page.open(portrait, box)
        noted = page.collect()
        for name, event in names.items():
            times[name].append(noted.time_of("picture") - noted.time_of(event))
        times["offer_to_connected"].append(noted.time_of("connected") - noted.time_of("offer"))
        page.close()
        page.wait(PAUSE_S)  # the server takes a session down behind its answer
    return {f"{name}_ms": spread(values) for name, values in times.items()}


def interrupt(
    page: SessionPage, box: Box, voice: Voices, go_on: Callable[[], bool], chance: random.Random
) -> dict[str, Any]:
    """Speaks and interrupts at random moments for as long as `go_on`; and what was received meanwhile."""
    found: list[figures.Interruption] = []
    stats: list[dict[str, Any]] = []
    frame_times: list[NDArray[np.float64]] = []
    num = 0
    while go_on() or not num:
        page.speak(voice.pcm, voice.rate_hz, f"u{num}")
        page.wait_for("playback_started")
        page.wait(chance.uniform(0.8, len(voice.heard) / RATE_HZ - 1))
        page.clear()
        page.wait(AFTERWARDS_S)
        noted = page.collect()
        num += 1
        if noted.lost < MAX_LOST_MS:
            found.append(figures.interruption(noted, voice.heard, box))
        stats += noted.stats
        frame_times.append(noted.frame_times)
    return {
        "interruptions": num,
        "stale_audio_ms": spread([one.stale_audio for one in found]),
        "stale_video_ms": spread([one.stale_video for one in found]),
        "position_error_ms": spread([one.position_error for one in found]),
        "skew_ms": spread(figures.skews_ms(stats)),
        **figures.received(stats, np.concatenate(frame_times)),
    }


def transitions(bundle: Path | None, portrait: str, report: Callable[[str], None]) -> dict[str, Any]:
    """Frame differences at the transitions, measured in this process; see `session_transitions`."""
    import soxr
    from PIL import Image

    from avacast.bench import session_transitions
    from avacast.bench.model import open_model
    from avacast.engine.config import SAMPLE_RATE_HZ
    from avacast.streaming.gallery import find_portrait

    report("transitions")
    pipeline = open_model(bundle, random_weights=False, threads=0)
    voices = [Voices.of(sentence) for sentence in SENTENCES]
    sounds = [soxr.resample(voice.heard, RATE_HZ, SAMPLE_RATE_HZ).astype(np.float32) for voice in voices]
    script = session_transitions.write_script(sounds, pipeline.config.samples_per_frame)
    picture = np.asarray(Image.open(find_portrait(portrait)).convert("RGB"))
    frames = session_transitions.shown_frames(pipeline, picture, script, lambda: None)
    ratios = session_transitions.transition_ratios(frames, script)
    return {f"ratio_{kind.replace(' ', '_')}": spread(values) for kind, values in ratios.items()}


def _mouth_box(portrait: str) -> Box:
    """Raises BadPortrait for a name that is not in the gallery."""
    import json

    from avacast.engine.errors import BadPortrait
    from avacast.streaming.gallery import gallery_folder

    entries: Iterable[dict[str, Any]] = json.loads((gallery_folder() / "gallery.json").read_text(encoding="utf-8"))
    boxes = {entry["name"]: entry["mouth_box"] for entry in entries}
    if portrait not in boxes:
        raise BadPortrait(f"there is no portrait {portrait!r} in the gallery; name one of: {', '.join(sorted(boxes))}")
    top, left, bottom, right = boxes[portrait]
    return top, left, bottom, right


@contextmanager
def _progress(seconds: float) -> Generator[Callable[[str], None]]:
    """A bar that fills with time, on standard error; called with what is being done now."""
    import threading

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), "left", TimeRemainingColumn())
    done = threading.Event()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("starting the server", total=seconds + ESTIMATED_REST_S)

        def tick() -> None:
            while not done.wait(1.0):
                progress.advance(task, 1.0)

        ticking = threading.Thread(target=tick, daemon=True)
        ticking.start()
        try:
            yield lambda what: progress.update(task, description=what)
        finally:
            done.set()
            ticking.join()


ESTIMATED_REST_S = 60
"""The server's start and the transitions, about."""
