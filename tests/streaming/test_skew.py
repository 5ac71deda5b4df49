"""Sound against picture over hours, in virtual time, measured as with a clapperboard.

Somebody beeps into the microphone, a stand-in for the engine answers a loud slice with a white frame and a quiet one
with a black frame, and what leaves is written down: when the sound begins and when the picture turns white. The
microphone's clock differs from ours, its packets jitter, the engine takes now longer and now shorter, the event loop is
late at times, and the machine sleeps once. Nothing of the session itself is replaced.

Skew is positive when sound is early. The bounds are those of EBU R37 for nearly all of the time (+40, -60 ms) and
of ITU-R BT.1359 for all of it (+90, -185 ms).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest

from avacast.streaming.live_session import MAX_DELAY_S, LiveSession
from avacast.streaming.messages import Frames, Ready
from avacast.streaming.utterance import Utterance

Run = Callable[[Coroutine[Any, Any, None]], None]

PACKET = 960
BLACK = np.zeros((64, 64, 3), np.uint8)
WHITE = np.full((64, 64, 3), 255, np.uint8)
BEEP_EVERY_S, BEEP_S = 3, 0.3
LOUD = 0.1


class Clapper:
    """In the place of `Worker`: windows of four slices, answered after 0.15 to 0.35 s, white where they are loud.

    From slice `dead_from` to slice `dead_to` it takes 4 s, more than the session waits.
    """

    def __init__(self, dead_from: int = -1, dead_to: int = -1) -> None:
        self._rng = np.random.default_rng(5)
        self._dead = range(dead_from, dead_to)
        self._window: list[tuple[int, bool]] = []
        self._on_the_way: deque[Frames] = deque()
        self._last_s = 0.0
        self._epoch, self._newest = 0, -1
        self._listener: Any = None

    def open(self, session: str, picture: np.ndarray, seed: int, listener: Any, **_: Any) -> None:
        assert (session, picture.shape, seed) == ("s", BLACK.shape, 0)
        self._listener = listener
        listener.on_opened(familiar=True)

    def push(self, session: str, number: int, samples: np.ndarray, position: int, **_: Any) -> None:
        assert (session, position <= number) == ("s", True)
        self._newest = number
        self._window.append((number, bool(np.abs(samples).mean() > LOUD)))
        if len(self._window) < 4:
            return
        window, self._window = self._window, []
        images = np.stack([WHITE if loud else BLACK for _, loud in window])
        frames = Frames(session, self._epoch, tuple(number for number, _ in window), images, 0.1, 0)
        loop = asyncio.get_running_loop()
        delay_s = 4.0 if number in self._dead else self._rng.uniform(0.15, 0.35)
        self._last_s = max(self._last_s, loop.time() + delay_s)
        self._on_the_way.append(frames)
        loop.call_at(self._last_s, self._answer)

    def _answer(self) -> None:
        if self._on_the_way:  # what was on its way when the session was cut has gone
            self._listener.on_frames(self._on_the_way.popleft())

    def cut(self, session: str, epoch: int, number: int) -> None:
        """Answers the slices from `number` on anew, in black, which takes it a window's time."""
        assert session == "s"
        self._epoch, self._window = epoch, []
        self._on_the_way.clear()
        again = tuple(range(number, self._newest + 1))
        frames = Frames(session, epoch, again, np.stack([BLACK] * len(again)), 0.1, 0)
        loop = asyncio.get_running_loop()
        self._last_s = loop.time() + self._rng.uniform(0.05, 0.1)
        self._on_the_way.append(frames)
        loop.call_at(self._last_s, self._answer)

    def close(self, session: str) -> None:
        assert session == "s"
        self._listener.on_frames = lambda frames: frames


class Notes:
    """In the place of both tracks: when sound began and when the picture turned white, and when each thing left."""

    num_dropped = 0

    def __init__(self) -> None:
        self.sounds: list[float] = []
        self.last_loud_s = self.last_white_s = 0.0
        self.num_loud = 0
        self.flashes: list[float] = []
        self.audio_offsets: list[float] = []
        self.video_offsets: list[float] = []
        self.slots: list[int] = []
        self._quiet, self._dark = 0, True

    def put_audio(self, pts: int, samples: np.ndarray) -> None:
        now = asyncio.get_running_loop().time()
        self.audio_offsets.append(now - pts / 48_000)
        loud = np.abs(samples) > LOUD
        self.num_loud += int(np.count_nonzero(loud))
        if loud.any():
            self.last_loud_s = now + float(np.flatnonzero(loud)[-1]) / 48_000
        if loud.any() and self._quiet > 10:
            self.sounds.append(now + float(np.argmax(loud)) / 48_000)
        self._quiet = 0 if loud.any() else self._quiet + 1

    def put_video(self, slot: int, image: np.ndarray) -> None:
        now = asyncio.get_running_loop().time()
        self.video_offsets.append(now - slot / 25)
        self.slots.append(slot)
        dark = bool(image[0, 0, 0] < 128)
        if not dark:
            self.last_white_s = now + 0.04  # it stands until the next slot
        if self._dark and not dark:
            self.flashes.append(now)
        self._dark = dark

    def skews_ms(self) -> np.ndarray:
        """Of every beep, to the flash that is nearest; each has one, but for a beep that is cut in two."""
        assert abs(len(self.sounds) - len(self.flashes)) <= 1, (len(self.sounds), len(self.flashes))
        skews = np.subtract.outer(self.flashes, self.sounds)
        return 1000 * skews[np.abs(skews).argmin(axis=0), range(len(self.sounds))]


class Stage:
    """A session with somebody who beeps into its microphone, by a clock that is `ppm` parts in a million faster."""

    def __init__(self, *, ppm: float = 0.0, engine: Clapper | None = None) -> None:
        self.notes = Notes()
        worker: Any = engine or Clapper()
        self.session = LiveSession("s", BLACK, worker, Ready("m", 25, 64, 64, "float32"), self._on_ended)
        self.session.video.put = self.notes.put_video
        self.session.audio.put = self.notes.put_audio
        self._ended = ""
        self.talking = True
        self.num_beeps = 0
        self._speaking = asyncio.create_task(self._speak(1 + ppm * 1e-6))

    async def aclose(self) -> None:
        self._speaking.cancel()
        await self.session.close()
        assert not self._ended

    def _on_ended(self, code: str, message: str) -> None:
        self._ended = f"{code}: {message}"

    async def _speak(self, speed: float) -> None:
        loop, rng = asyncio.get_running_loop(), np.random.default_rng(1)
        start_s = loop.time()
        tone = (0.5 * np.sin(np.arange(PACKET) * 2 * np.pi / 96)).astype(np.float32)
        number, period, length = 0, BEEP_EVERY_S * 50, round(BEEP_S * 50)
        while True:
            wait_s = start_s + (number / 50 + rng.uniform(0, 0.01)) / speed - loop.time()
            if wait_s < -1:  # the machine slept, and nobody recorded
                number += period * round(-wait_s * 50 / period)
                continue
            await asyncio.sleep(wait_s)
            beeps = self.talking and number % period >= period - length
            self.num_beeps += self.talking and number % period == period - 1
            if self.talking:
                self.session.source.microphone.push(tone if beeps else np.zeros_like(tone), number * PACKET)
            number += 1


async def watch(seconds: float, *, lateness_s: float = 0.0) -> None:
    """Lets time pass; about every ten seconds the loop is kept busy for up to `lateness_s`."""
    loop, rng = asyncio.get_running_loop(), np.random.default_rng(2)
    end_s = loop.time() + seconds
    while loop.time() < end_s:
        await asyncio.sleep(min(10.0, end_s - loop.time()))
        loop.jumping.now_s += rng.uniform(0, lateness_s)


def check(skews_ms: np.ndarray) -> None:
    low, high = np.percentile(skews_ms, [2.5, 97.5])
    print(f"{len(skews_ms)} beeps, skew {skews_ms.min():.0f} to {skews_ms.max():.0f}, 95 % {low:.0f} to {high:.0f} ms")
    assert -60 <= low <= high <= 40
    assert -185 <= skews_ms.min() <= skews_ms.max() <= 90


@pytest.mark.parametrize(("ppm", "minutes"), [(200, 60), (-200, 20)])
def test_sound_and_picture_stay_together_for_an_hour(run: Run, ppm: int, minutes: int):
    """With a microphone whose clock drifts, a long idle time, a late event loop and a sleeping machine.

    No sound is dropped, the delay stays what it was to 200 ms, and no packet leaves at another time than its slot.
    """

    async def scenario() -> None:
        stage = Stage(ppm=ppm)
        notes = stage.notes
        await watch(60)
        early_ms = stage.session.stats()["latency_ms"]
        await watch(20 * minutes, lateness_s=0.15)
        stage.talking = False
        await watch(15 * minutes)
        stage.talking = True
        asyncio.get_running_loop().jumping.now_s += 20.0
        await watch(25 * minutes - 60, lateness_s=0.15)
        stats = stage.session.stats()
        await stage.aclose()
        check(notes.skews_ms())
        assert stats["microphone_dropped_ms"] == 0
        assert abs(stats["latency_ms"] - early_ms) <= 200
        assert len(notes.sounds) >= stage.num_beeps - 1
        assert notes.slots == list(range(len(notes.slots)))
        offsets = np.array(notes.audio_offsets[::2]) - notes.video_offsets
        assert np.abs(offsets).max() < 1e-6

    run(scenario())


def test_an_engine_that_is_too_late_delays_the_picture_and_not_the_sound(run: Run):
    """For a while frames come 4 s after their sound, which waits 2.6 s at most: then it goes on without them.

    Every beep is heard, at the pace of the clock; what is shown late or again is counted; and when the engine has
    caught up, sound and picture are together again.
    """

    async def scenario() -> None:
        stage = Stage(engine=Clapper(500, 700))
        notes = stage.notes
        await watch(120)
        stats = stage.session.stats()
        await stage.aclose()
        assert stats["late"] + stats["repeated"] > 40
        assert stats["stalled"] <= MAX_DELAY_S * 25 + 1
        assert np.diff(notes.audio_offsets).max() < 1e-6
        assert len(notes.sounds) >= stage.num_beeps - 1
        pauses = np.diff(notes.sounds)
        assert pauses.max() <= BEEP_EVERY_S + MAX_DELAY_S
        late = notes.sounds[-10]
        check(notes.skews_ms()[np.array(notes.sounds) >= late])

    run(scenario())


def test_fifty_interruptions_leave_nothing_stale(run: Run):
    """At whatever instant: no loud sample 100 ms after it, no picture of old speech 200 ms after it, and the position
    that is told is how much of it was loud, to 20 ms.
    """

    class Listener:
        def on_started(self, utterance: Utterance, pts_s: float) -> None:
            assert (utterance.num_heard, pts_s > 0) == (0, True)

        def on_heard(self, utterance: Utterance) -> None:
            self.position_s = utterance.position_s

        def on_finished(self, utterance: Utterance, interrupted: bool) -> None:
            assert interrupted
            self.position_s = utterance.position_s

    async def scenario() -> None:
        stage, rng, listener = Stage(), np.random.default_rng(3), Listener()
        loop, notes = asyncio.get_running_loop(), stage.notes
        stage.talking = False
        stale_audio_s: list[float] = []
        stale_video_s: list[float] = []
        await watch(5)
        for number in range(50):
            utterance = Utterance(str(number), listener)
            utterance.push(np.full(8 * 48_000, 0.5, np.float32))
            utterance.end()
            notes.num_loud = 0
            stage.session.say(utterance)
            await asyncio.sleep(rng.uniform(1.5, 6.0))
            asked_s = loop.time()
            stage.session.clear()
            await asyncio.sleep(2.0)
            stale_audio_s.append(notes.last_loud_s - asked_s)
            stale_video_s.append(notes.last_white_s - asked_s)
            assert notes.num_loud / 48_000 == pytest.approx(listener.position_s, abs=0.02)
        await stage.aclose()
        print(f"stale at most: sound {1000 * max(stale_audio_s):.0f} ms, picture {1000 * max(stale_video_s):.0f} ms")
        assert stage.session.epoch == 50
        assert max(stale_audio_s) <= 0.1
        assert np.percentile(stale_video_s, 95) <= 0.2

    run(scenario())
