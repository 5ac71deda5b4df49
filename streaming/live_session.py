"""One live avatar: sound in, paired picture and sound out, all on one media clock.

    utterances ─┐               ┌─ decimator ─▶ worker ─▶ frames ─┐
    microphone ─┼▶ audio source ┤                                 ├▶ pacer ─▶ audio and video track
    silence ────┘               └─────── the same slice ──────────┘               └▶ playback

Utterances are typed text or speech that is streamed in; `playback` tells how much of each was heard. Media time runs
from the moment the session is made. Knows the worker and the tracks; knows nothing of peers or HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from avacast.engine.errors import Unavailable
from avacast.streaming.audio_source import AudioSource
from avacast.streaming.clock import AUDIO_RATE_HZ, PACKET_SAMPLES, MediaClock
from avacast.streaming.decimator import Decimator
from avacast.streaming.interruption import MAX_RESUME_S, Interruption
from avacast.streaming.messages import Frames, Ready
from avacast.streaming.onset import SpeechOnset
from avacast.streaming.pacer import Pacer, Slot, faded
from avacast.streaming.playback import Playback
from avacast.streaming.real_time_rate import RealTimeRate
from avacast.streaming.tracks import AudioTrack, VideoTrack
from avacast.streaming.utterance import Utterance
from avacast.streaming.worker import Worker

log = logging.getLogger(__name__)

MAX_DELAY_S = 2.6
"""How long sound is held for its frame: the engine's look-ahead and waiting (`lane`), and one window of work."""

MAX_CATCH_UP_S = 1.0
"""Deadlines missed by more than this are not made up for: the machine slept, and a burst would help nobody."""

MAX_STALE_SLOTS = 1
"""Pictures of unsaid speech that are still shown after an interruption. Then the last one stands until the engine has
made others, for a window's time."""

FADE = np.linspace(1, 0, AUDIO_RATE_HZ * 5 // 1000, dtype=np.float32)
"""How sound ends when it is cut: within 5 ms, for a click would be heard."""


class LiveSession:
    """The media of one session. `on_ended(code, message)` is called once if the worker gives it up.

    `on_onset()` is called whenever somebody begins to speak into the microphone while an utterance is said.

    Args:
        picture: uint8 [H, W, 3], of any size.
    """

    def __init__(
        self,
        name: str,
        picture: NDArray[np.uint8],
        worker: Worker,
        model: Ready,
        on_ended: Callable[[str, str], None],
        on_onset: Callable[[], None] = lambda: None,
    ) -> None:
        self.source = AudioSource()
        self.video = VideoTrack(model.fps)
        self.audio = AudioTrack()
        self.opened = False
        self.familiar: bool | None = None
        """Whether the model was made for pictures like this one; None while nobody has looked."""
        self._interruption = Interruption()
        self._name = name
        self._worker = worker
        self._on_ended = on_ended
        self._on_onset = on_onset
        self._onset = SpeechOnset()
        self._clock = MediaClock(time.monotonic(), model.fps)
        still = np.asarray(ImageOps.fit(Image.fromarray(picture), (model.width, model.height)))
        self._pacer = Pacer(self._clock.samples_per_slot, still, max_delay=round(MAX_DELAY_S * model.fps))
        self._decimator = Decimator()
        self._playback = Playback()
        self._slot: Slot | None = None
        self._slice: int | None = None
        self._packet = 0
        self._rate = RealTimeRate(model.fps)
        self._num_skipped = 0
        self._worst_lateness_s = 0.0
        self._task = asyncio.create_task(self._run(), name=f"session-{name}")
        self._task.add_done_callback(self._on_clock_stopped)
        worker.open(name, picture, 0, self)

    async def close(self) -> None:
        """Ends clock, tracks and the worker's side. Closing twice does nothing."""
        self._worker.close(self._name)
        self._task.cancel()
        await asyncio.wait([self._task])
        self.video.stop()
        self.audio.stop()

    def say(self, utterance: Utterance) -> None:
        """Says an utterance, which may still grow, after what waits. Raises Unavailable when too much waits."""
        self.source.say(utterance)
        self._playback.begin(utterance)
        self._interruption.forget()

    def clear(self) -> float:
        """Cuts all speech, said or waiting, within 5 ms; returns how much of the present utterance was heard, in s.

        The mouth closes by itself: what the engine had heard beyond the next slot is taken back, and silence is
        put in its place. Every utterance that had not finished tells its listener so.
        """
        current = self._playback.current
        number = self._pacer.position + MAX_STALE_SLOTS
        self._interruption.begin(number, self._playback.cut(), time.monotonic())
        self.source.clear()
        self._decimator = Decimator()  # the old one still holds a millisecond of what is unsaid
        self._pacer.take_back(number)
        if self.opened:
            self._worker.cut(self._name, self.epoch, number)
        sent = self._packet % self._clock.packets_per_slot * PACKET_SAMPLES
        rest = self._slot.audio[sent:] if self._slot and sent else np.zeros(0, np.float32)
        if self._slot and sent:
            audio = np.concatenate([self._slot.audio[:sent], faded(rest, FADE)])
            self._slot = replace(self._slot, audio=audio)
        self._pacer.hush(FADE[len(rest) :])
        return current.position_s if current else 0.0

    def resume(self) -> float:
        """Takes up what was cut last, where it was cut; returns its length in seconds.

        Raises Unavailable when nothing was cut in the last five seconds, or something else was said since.
        """
        rest = self._interruption.rest(time.monotonic())
        if not rest:
            raise Unavailable(f"nothing was interrupted in the last {MAX_RESUME_S:.0f} s that could be taken up again")
        left_s = sum(utterance.num_waiting for utterance in rest) / AUDIO_RATE_HZ
        for utterance in rest:
            self.say(utterance)
        return left_s

    @property
    def epoch(self) -> int:
        """Raised by every interruption; what was made of speech before it is stale."""
        return self._interruption.epoch

    def stats(self) -> dict[str, float | int | str]:
        """Numbers for people and programs; counts run from the start, `fps` is of the last second."""
        counts = self._pacer.counts
        slot_ms = 1000 / self._clock.fps
        return {
            "fps": self._rate.fresh_per_second,
            "real_time_factor": round(self._rate.real_time_factor, 3),
            "latency_ms": round(self._pacer.delay * slot_ms + self.source.microphone.buffered_samples / 48),
            "buffered_frames": self._pacer.num_frames_ready,
            "live": counts.live,
            "late": counts.late,
            "repeated": counts.repeat,
            "stalled": counts.stall,
            "shortened": counts.skipped,
            "skipped_by_engine": self._num_skipped,
            "microphone_dropped_ms": round(self.source.microphone.num_dropped / 48),
            "packets_dropped": self.audio.num_dropped,
            "worst_lateness_ms": round(1000 * self._worst_lateness_s),
            "speech_left_s": round(self.source.speech_left_s, 2),
            "epoch": self.epoch,
            "hearing": "microphone" if self.source.hearing else "text" if self.source.speaking else "silence",
        }

    def on_opened(self, familiar: bool) -> None:
        self.opened, self.familiar = True, familiar

    def on_frames(self, frames: Frames) -> None:
        self._pacer.take_back(frames.numbers[0])
        for number, image in zip(frames.numbers, frames.images, strict=True):
            if not self._interruption.is_stale(frames.epoch, number):
                self._pacer.push_frame(number, image)
        self._num_skipped = frames.num_skipped
        self._rate.note_compute(len(frames.numbers), frames.compute_s)

    def on_ended(self, code: str, message: str) -> None:
        self._on_ended(code, message)

    def _on_clock_stopped(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            log.error("the clock of session %s stopped", self._name, exc_info=error)
            self._on_ended("internal", "the session failed; start it again")

    async def _run(self) -> None:
        while True:
            now = time.monotonic()
            lateness = self._clock.lateness_s(self._packet, now)
            if lateness < 0:
                await asyncio.sleep(-lateness)
                continue
            self._worst_lateness_s = max(self._worst_lateness_s, lateness)
            if lateness > MAX_CATCH_UP_S:
                self._clock.resume(self._packet, now)
            self._send(self._packet)
            self._packet += 1
            await asyncio.sleep(0)  # a burst of missed deadlines must not keep the loop to itself

    def _send(self, packet: int) -> None:
        part = packet % self._clock.packets_per_slot
        if part == 0 or self._slot is None:
            self._slot = self._next_slot()
            self.video.put(self._slot.number, self._slot.image)
        start, stop, pts = part * PACKET_SAMPLES, (part + 1) * PACKET_SAMPLES, packet * PACKET_SAMPLES
        self.audio.put(pts, self._slot.audio[start:stop])
        if self._slice is not None:
            self._playback.leave(self._slice, start, stop, pts)

    def _listen_for_onset(self) -> None:
        overheard = self.source.overheard
        if overheard is not None and self._onset.push(overheard):
            asyncio.get_running_loop().call_soon(self._on_onset)  # not in the middle of a slot

    def _next_slot(self) -> Slot:
        if self.opened:
            heard = self.source.take(self._clock.samples_per_slot)
            self._listen_for_onset()
            number = self._pacer.push_audio(heard)
            self._playback.enter(number, self.source.spans)
            self._worker.push(self._name, number, self._decimator.push(heard), self._pacer.position)
        slot = self._pacer.next_slot()
        self._slice = self._pacer.position - 1 if slot.kind in ("live", "late", "repeat") else None
        self._rate.note_slot(slot.kind in ("live", "late"))
        return slot
