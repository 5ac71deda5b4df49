"""What is typed, spoken by a speech service into the session: one after the other, heard and captioned as it comes.

Knows texts, a service and the session they go to; knows nothing of vendors, websockets or HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from functools import partial

from avacast.engine.errors import AvacastError, BadText, Unavailable
from avacast.streaming.audio_source import MAX_SPEECH_S
from avacast.streaming.caption_feed import CaptionFeed
from avacast.streaming.caption_words import num_cells
from avacast.streaming.captions import CHAR_S, Captions
from avacast.streaming.clock import AUDIO_RATE_HZ
from avacast.streaming.pcm_stream import PcmStream
from avacast.streaming.session_events import Event
from avacast.streaming.tts import TTS, Words
from avacast.streaming.utterance import Interrupted, Utterance

log = logging.getLogger(__name__)

MAX_TEXTS = 8
"""Texts that wait for the service. Policy when full: a new one is refused."""


class Speaker:
    """One session's voice. `begin` queues an utterance in the session; it raises AvacastError when it cannot.

    `tell` is told the captions of what is heard (`caption_feed`).
    """

    def __init__(self, tts: TTS, begin: Callable[[Utterance], None], tell: Callable[[Event], object]) -> None:
        self._tts = tts
        self._begin = begin
        self._tell = tell
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._num_texts = 0

    async def say(self, text: str) -> float:
        """Speaks `text` after what waits already; returns, once it works, about how long it is, in seconds.

        Raises BadText, SpeechServiceError, Interrupted, or Unavailable when too much waits.
        """
        if len(self._tasks) >= MAX_TEXTS:
            raise Unavailable(f"{MAX_TEXTS} texts wait already; let the avatar finish first")
        self._num_texts += 1
        working: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._speak(f"text-{self._num_texts}", text, working), name="speak")
        self._tasks.add(task)
        task.add_done_callback(partial(self._on_end, working=working))
        return await working

    def clear(self) -> None:
        """Stops what is being synthesised and drops what waits for it."""
        for task in self._tasks:
            task.cancel()

    async def aclose(self) -> None:
        """Stops everything and leaves the service."""
        self.clear()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._tts.aclose()

    def _on_end(self, task: asyncio.Task[None], working: asyncio.Future[float]) -> None:
        self._tasks.discard(task)
        if not working.done():  # a task that is stopped before it has begun gets no word in itself
            working.set_exception(Interrupted("the text was interrupted before it was spoken"))

    async def _speak(self, name: str, text: str, working: asyncio.Future[float]) -> None:
        captions = Captions(text)
        utterance = Utterance(name, CaptionFeed(captions, self._tell))
        try:
            async with self._turn:
                await self._stream(utterance, text, captions, working)
                captions.stretch(utterance.num_pushed / AUDIO_RATE_HZ)
        except AvacastError as error:
            if working.done():
                log.warning("%s was not spoken to its end: %s", name, error)
            else:
                # Its traceback would keep the resampler, and the future itself, in a cycle.
                working.set_exception(error.with_traceback(None))
        except Exception as error:
            if working.done():
                raise
            working.set_exception(error)  # a fault of ours; whoever waits must not wait for ever
        finally:
            utterance.end()  # what came is said; what was interrupted has been cut by the session

    async def _stream(
        self, utterance: Utterance, text: str, captions: Captions, working: asyncio.Future[float]
    ) -> None:
        """The second piece of sound, or the end, shows that it works: services refuse with the first answer."""
        pcm = PcmStream(self._tts.sample_rate_hz)
        num_bytes = 0
        async with contextlib.aclosing(self._tts.speak(text)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Words):
                    captions.add(piece.words)
                    continue
                if not num_bytes:
                    self._begin(utterance)
                elif not working.done():
                    working.set_result(max(utterance.num_pushed / AUDIO_RATE_HZ, CHAR_S * num_cells(text)))
                num_bytes += len(piece.data)
                utterance.push(pcm.push(piece.data))
                if utterance.num_waiting > MAX_SPEECH_S * AUDIO_RATE_HZ:
                    raise Unavailable(f"the service sent more than {MAX_SPEECH_S} s of speech; send shorter texts")
        utterance.push(pcm.flush())
        if not utterance.num_pushed:
            raise BadText("the text holds nothing that can be spoken; type some words")
        if not working.done():
            working.set_result(utterance.num_pushed / AUDIO_RATE_HZ)
