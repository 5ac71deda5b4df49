"""What is shown and heard in each slot: pairs frames with the audio that made them, and lives with a late engine.

Audio enters in real time, one slice per slot, and is held until the frame made from it has arrived; the number of
slices held is the delay. The policy when the frame of the next slice is not there:

* While the delay is below its bound, the slot stalls: silence and the picture shown last, and the delay is one slot
  longer from then on. So the delay settles at what the engine needs, most often in the idle second after the start.
* At the bound, audio goes on without its frame, the picture repeats, and a frame that comes late is shown late, until
  the engine has caught up. Audio is never dropped for the sake of video.
* When frames have long been waiting with time to spare, a slice is skipped with its frame, but only a silent one: the
  delay shrinks again and nobody hears it.

This module knows slots, not seconds: no clock, no event loop, no network.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

SILENCE_PEAK = 0.003
"""Below this peak (-50 dBFS) a slice may be skipped unheard."""

CALM_SLOTS = 75
"""Slots without a stall before the delay may shrink."""

SLOTS_BETWEEN_SKIPS = 10


@dataclass(frozen=True)
class Slot:
    """What leaves at one deadline: audio float32 [samples_per_slot] and image uint8 [H, W, 3].

    `kind`: `live` (the frame of this audio), `late` (an earlier frame, shown late), `repeat` (audio goes on, the
    picture stands), `stall` (both wait) or `wait` (nothing has entered yet).
    """

    number: int
    audio: NDArray[np.float32]
    image: NDArray[np.uint8]
    kind: Literal["live", "late", "repeat", "stall", "wait"]


@dataclass
class Counts:
    """How slots went since the start."""

    live: int = 0
    late: int = 0
    repeat: int = 0
    stall: int = 0
    wait: int = 0
    skipped: int = 0


class Pacer:
    """One session's pairing of audio and frames.

    Args:
        samples_per_slot: audio samples of a slot, as heard.
        still: uint8 [H, W, 3], shown until the first frame arrives.
        max_delay: slices held at most; both queues are bounded by it.
        spare: frames that should wait at the tightest moment; more lets the delay shrink.
    """

    def __init__(self, samples_per_slot: int, still: NDArray[np.uint8], *, max_delay: int = 50, spare: int = 2) -> None:
        self.counts = Counts()
        self.position = 0
        """Slices that have been played or skipped: the next one's number."""
        self._max_delay = max_delay
        self._spare = spare
        self._silence = np.zeros(samples_per_slot, np.float32)
        self._image = still
        self._shown = -1
        self._hushed_until = 0
        self._audio: deque[NDArray[np.float32]] = deque()
        self._frames: deque[tuple[int, NDArray[np.uint8]]] = deque()
        self._num_slots = 0
        self._calm = 0
        self._least_lead = max_delay

    @property
    def delay(self) -> int:
        """Slices that have entered and are not yet heard."""
        return len(self._audio)

    @property
    def num_frames_ready(self) -> int:
        return len(self._frames)

    def push_audio(self, samples: NDArray[np.float32]) -> int:
        """Enters the next slice, float32 [samples_per_slot]; returns its number. One call per `next_slot` at most."""
        assert samples.shape == self._silence.shape, f"a slice is {self._silence.shape}, not {samples.shape}"
        assert len(self._audio) <= self._max_delay, "more slices entered than slots left"
        self._audio.append(samples)
        return self.position + len(self._audio) - 1

    def push_frame(self, number: int, image: NDArray[np.uint8]) -> None:
        """Enters the frame made from slice `number`; numbers rise, with gaps where the engine skipped slices.

        One that is older than what is shown is left out: nobody is taken back in time.
        """
        assert not self._frames or number > self._frames[-1][0], f"frame {number} came after {self._frames[-1][0]}"
        if number > self._shown:
            self._frames.append((number, image))

    def take_back(self, number: int) -> None:
        """Drops the frames from slice `number` on that have not been shown; others come in their place."""
        while self._frames and self._frames[-1][0] >= number:
            self._frames.pop()

    def hush(self, fade: NDArray[np.float32]) -> None:
        """Silences the slices that wait, all but the first len(fade) samples, which are multiplied by `fade`.

        Their frames still come, as they were made or anew: what is heard and what is shown stay paired. But these
        slices do not wait for them: nobody would hear the difference, and the delay would grow.
        """
        waiting, self._audio = self._audio, deque(self._silence for _ in self._audio)
        self._hushed_until = self.position + len(waiting)
        if waiting and len(fade):
            self._audio[0] = faded(waiting[0], fade)

    def next_slot(self) -> Slot:
        """Decides what leaves at the next deadline."""
        if not self._audio:
            return self._slot("wait", self._silence)
        if self._may_skip():
            self._skip()
        newest = self._show_newest()
        lead = self._frames[-1][0] - self.position if self._frames else 0
        on_time = newest == self.position
        if on_time or lead or self.delay > self._max_delay or self.position < self._hushed_until:
            self._note_lead(lead if on_time else 0)
            self.position += 1
            kind = "live" if on_time else "repeat" if newest is None else "late"
            return self._slot(kind, self._audio.popleft())
        self._calm, self._least_lead = 0, self._max_delay
        return self._slot("stall", self._silence)

    def _show_newest(self) -> int | None:
        """Makes the newest frame that is due the current picture; returns its number, None when there is none."""
        newest: int | None = None
        while self._frames and self._frames[0][0] <= self.position:
            newest, self._image = self._frames.popleft()
            self._shown = newest
        return newest

    def _note_lead(self, lead: int) -> None:
        self._calm += 1
        self._least_lead = min(self._least_lead, lead)

    def _may_skip(self) -> bool:
        has_pair = self.delay > 1 and bool(self._frames) and self._frames[0][0] == self.position
        calm = self._calm >= CALM_SLOTS and self._least_lead > self._spare
        return has_pair and calm and float(np.abs(self._audio[0]).max()) < SILENCE_PEAK

    def _skip(self) -> None:
        self._audio.popleft()
        self._frames.popleft()
        self.position += 1
        self.counts.skipped += 1
        self._calm -= SLOTS_BETWEEN_SKIPS
        self._least_lead -= 1

    def _slot(self, kind: Literal["live", "late", "repeat", "stall", "wait"], audio: NDArray[np.float32]) -> Slot:
        setattr(self.counts, kind, getattr(self.counts, kind) + 1)
        slot = Slot(self._num_slots, audio, self._image, kind)
        self._num_slots += 1
        return slot


def faded(samples: NDArray[np.float32], fade: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 [N] with its beginning multiplied by `fade` and silence after it."""
    ending = np.zeros_like(samples)
    num_faded = min(len(samples), len(fade))
    ending[:num_faded] = samples[:num_faded] * fade[:num_faded]
    return ending
