"""The speech websocket into a live session, in virtual time: everything is real but the engine and the network.

The engine's place is taken by one that answers every slice with a frame after a fixed time, and the network's by two
lists of messages; so hours pass in seconds, and every run is the same.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from starlette.types import Message
from starlette.websockets import WebSocket

from avacast.streaming.live_session import FADE, LiveSession
from avacast.streaming.messages import Frames, Ready
from avacast.streaming.pcm_stream import PcmStream
from avacast.streaming.session_events import Event
from avacast.streaming.speech_connection import MAX_ERRORS, MAX_REPLIES_WAITING, SpeechConnection
from avacast.streaming.speech_credit import HIGH_WATER_MS
from avacast.streaming.utterance import Utterance

ENGINE_DELAY_S = 0.3
RATE_HZ = 24_000
STILL = np.zeros((64, 64, 3), np.uint8)


Run = Callable[[Coroutine[Any, Any, None]], None]


class PromptEngine:
    """In the place of `Worker`: a frame for every slice, `ENGINE_DELAY_S` after it came."""

    def __init__(self) -> None:
        self._listener: Any = None
        self._epoch = self._next = 0

    def open(self, session: str, picture: np.ndarray, seed: int, listener: Any) -> None:
        assert (session, picture.shape, seed) == ("s", STILL.shape, 0)
        self._listener = listener
        listener.on_opened(True)

    def push(self, session: str, number: int, samples: np.ndarray, position: int) -> None:
        assert (session, samples.shape, position <= number) == ("s", (640,), True)
        self._make(session, number)

    def cut(self, session: str, epoch: int, number: int) -> None:
        assert epoch == self._epoch + 1
        self._epoch = epoch
        for again in range(number, self._next):
            self._make(session, again)

    def _make(self, session: str, number: int) -> None:
        self._next = max(self._next, number + 1)
        frames = Frames(session, self._epoch, (number,), STILL[None], 0.0, 0)
        asyncio.get_running_loop().call_later(ENGINE_DELAY_S, self._listener.on_frames, frames)

    def close(self, session: str) -> None:
        assert session == "s"
        self._listener.on_frames = lambda frames: frames


class Room:
    """A live session, what is heard of it, and the call's side of the speech websocket."""

    def __init__(self) -> None:
        engine: Any = PromptEngine()
        self.session = LiveSession("s", STILL, engine, Ready("m", 25, 64, 64, "float32"), self.on_ended)
        self.heard: list[np.ndarray] = []
        self.pictures = 0
        self.told: list[Event] = []
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._look())]

    @property
    def buffered_ms(self) -> float:
        return 1000 * self.session.source.speech_left_s

    def begin(self, utterance: Utterance) -> None:
        self.session.say(utterance)

    def resume(self) -> float:
        return self.session.resume()

    def clear(self) -> tuple[float, int]:
        return self.session.clear(), self.session.epoch

    def tell(self, event: Event) -> None:
        self.told.append(event)

    def sound(self) -> np.ndarray:
        """Everything heard so far, int16 at 48 kHz."""
        return np.concatenate(self.heard)

    def on_ended(self, code: str, message: str) -> None:
        raise AssertionError(f"the session ended: {code}, {message}")

    async def aclose(self) -> None:
        await self.session.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _listen(self) -> None:
        while True:
            self.heard.append((await self.session.audio.recv()).to_ndarray()[0])

    async def _look(self) -> None:
        while True:
            await self.session.video.recv()
            self.pictures += 1


class Client:
    """The other end of the websocket."""

    def __init__(self, room: Room) -> None:
        self.replies: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.closed: int | None = None
        self.reading = asyncio.Event()
        self.reading.set()
        self._incoming: asyncio.Queue[Message] = asyncio.Queue()
        websocket = WebSocket({"type": "websocket"}, self._incoming.get, self._hear)
        self._accepting = asyncio.create_task(websocket.accept())
        self._incoming.put_nowait({"type": "websocket.connect"})
        self.connection = SpeechConnection(websocket, room)
        self.serving = asyncio.create_task(self._serve())

    async def _serve(self) -> None:
        await self._accepting
        await self.connection.run()

    async def _hear(self, message: Message) -> None:
        if message["type"] == "websocket.close":
            self.closed = message["code"]
        elif message["type"] == "websocket.send":
            await self.reading.wait()
            self.replies.append(json.loads(message["text"]))
            self.times.append(asyncio.get_running_loop().time())

    def send(self, message: str | bytes | dict[str, Any]) -> None:
        if isinstance(message, bytes):
            self._incoming.put_nowait({"type": "websocket.receive", "bytes": message})
        else:
            text = message if isinstance(message, str) else json.dumps(message)
            self._incoming.put_nowait({"type": "websocket.receive", "text": text})

    def vanish(self) -> None:
        self._incoming.put_nowait({"type": "websocket.disconnect", "code": 1006})

    async def reply(self, kind: str, number: int = 0) -> dict[str, Any]:
        """Waits for the reply of this kind with this number."""
        while True:
            found = [reply for reply in self.replies if reply["type"] == kind]
            if len(found) > number:
                return found[number]
            await asyncio.sleep(0.005)

    def limit_ms(self) -> int:
        return [reply["limit_ms"] for reply in self.replies if "limit_ms" in reply][-1]


@asynccontextmanager
async def speaking() -> AsyncGenerator[tuple[Room, Client]]:
    """A session that has been running for two seconds, and a client that has begun an utterance."""
    room = Room()
    await asyncio.sleep(2)
    client = Client(room)
    client.send({"type": "start", "sample_rate": RATE_HZ, "utterance_id": "u"})
    assert (await client.reply("ready"))["limit_ms"] == HIGH_WATER_MS
    yield room, client
    client.vanish()
    await client.serving
    await room.aclose()


def speech(duration_s: float) -> np.ndarray:
    """Loud PCM without a silent stretch, no two parts alike."""
    rng = np.random.default_rng(7)
    return rng.integers(4_000, 16_000, round(duration_s * RATE_HZ)).astype("<i2")


def as_heard(pcm: np.ndarray) -> np.ndarray:
    """What the resampler makes of it, as the track sends it."""
    stream = PcmStream(RATE_HZ)
    samples = np.concatenate([stream.push(pcm.tobytes()), stream.flush()])
    return (np.clip(samples, -1, 1) * 32_767).astype(np.int16)


async def stream(client: Client, pcm: np.ndarray, speed: float) -> None:
    """Sends in pieces of 20 ms at `speed` times real time, within the limit."""
    size = RATE_HZ // 50
    for start in range(0, len(pcm), size):
        while 1000 * (start + size) / RATE_HZ > client.limit_ms():  # noqa: ASYNC110  # virtual time costs nothing
            await asyncio.sleep(0.01)
        client.send(pcm[start : start + size].tobytes())
        await asyncio.sleep(0.02 / speed)


@pytest.mark.parametrize(("speed", "duration_s"), [(10.0, 40.0), (1.0, 6.0), (1000.0, 25.0)])
def test_a_stream_faster_than_real_time_is_heard_whole_and_in_one_piece(run: Run, speed: float, duration_s: float):
    """Bytes in are samples heard, to the last one, and never more than the high water waits."""

    async def scenario() -> None:
        async with speaking() as (room, client):
            pcm = speech(duration_s)
            sending = asyncio.create_task(stream(client, pcm, speed))
            most_ms = 0.0
            while not sending.done():
                most_ms = max(most_ms, room.buffered_ms)
                await asyncio.sleep(0.05)
            client.send({"type": "flush"})
            finished = await client.reply("playback_finished")
            assert finished == {
                "type": "playback_finished",
                "utterance_id": "u",
                "playback_position": duration_s,
                "interrupted": False,
            }
            await asyncio.sleep(0.1)
            sound = room.sound()
            first, last = np.flatnonzero(sound)[[0, -1]]
            assert np.array_equal(sound[first : last + 1], as_heard(pcm))
            assert most_ms <= HIGH_WATER_MS
            assert room.session.stats()["packets_dropped"] == 0
            (started,) = [reply for reply in client.replies if reply["type"] == "playback_started"]
            assert round(started["pts"] * 48_000) == pytest.approx(first, abs=3)
            assert [reply for reply in client.replies if reply["type"] == "error"] == []

    run(scenario())


def test_what_is_streamed_is_captioned_as_it_is_heard(run: Run):
    """Words with their times, told with the sound: each is shown when its sound leaves, and the end is told once."""

    async def scenario() -> None:
        async with speaking() as (room, client):
            client.send(speech(1.0).tobytes())
            client.send({"type": "words", "words": ["Hello", "there."], "start": [0.2, 0.6], "end": [0.6, 1]})
            started = await client.reply("playback_started")
            while len(room.told) < 2:  # noqa: ASYNC110  # virtual time costs nothing
                await asyncio.sleep(0.005)
            heard_s = asyncio.get_running_loop().time() - client.times[client.replies.index(started)]
            assert heard_s == pytest.approx(0.6, abs=0.04)
            client.send({"type": "words", "words": ["Bye."], "start": [1], "end": [1.5]})
            client.send(speech(0.5).tobytes())
            client.send({"type": "flush"})
            await client.reply("playback_finished")
            hello = {"type": "caption", "utterance": "u", "words": ["Hello", "there."], "joined": []}
            assert room.told == [
                {**hello, "num_heard": 1},
                {**hello, "num_heard": 2},
                {"type": "caption", "utterance": "u", "words": ["Bye."], "joined": [], "num_heard": 1},
                {"type": "caption_end", "utterance": "u", "interrupted": False},
            ]

    run(scenario())


def test_a_text_without_times_is_captioned_too_and_goes_on_after_a_resume(run: Run):
    """The start's words are spread over the sound; an interruption ends them, and what is resumed shows its own."""

    async def scenario() -> None:
        async with speaking() as (room, client):
            client.send({"type": "flush"})
            client.send({"type": "start", "sample_rate": RATE_HZ, "utterance_id": "v", "text": "four four four four"})
            client.send(speech(4.0).tobytes()[:65_000])
            client.send(speech(4.0).tobytes()[65_000:130_000])
            client.send(speech(4.0).tobytes()[130_000:])
            client.send({"type": "flush"})
            while len(room.told) < 2:  # noqa: ASYNC110  # virtual time costs nothing
                await asyncio.sleep(0.005)
            client.send({"type": "clear"})
            cleared = await client.reply("cleared")
            assert cleared["playback_position"] == pytest.approx(1.0, abs=0.04)
            assert room.told[-1] == {"type": "caption_end", "utterance": "v", "interrupted": True}
            num_told = len(room.told)
            client.send({"type": "resume"})
            await client.reply("playback_finished", 2)
            assert [event.get("num_heard") for event in room.told[num_told:]] == [2, 3, 4, None]
            assert room.told[-1] == {"type": "caption_end", "utterance": "v", "interrupted": False}

    run(scenario())


def test_sound_without_words_has_no_captions(run: Run):
    async def scenario() -> None:
        async with speaking() as (room, client):
            client.send(speech(0.5).tobytes())
            client.send({"type": "flush"})
            await client.reply("playback_finished")
            assert room.told == []

    run(scenario())


@pytest.mark.parametrize("speed", [0.5, 0.9])
def test_a_stream_slower_than_real_time_loses_nothing_and_the_picture_goes_on(run: Run, speed: float):
    """There are holes, of silence; without them it is the same sound, and a frame leaves in every slot."""

    async def scenario() -> None:
        async with speaking() as (room, client):
            pcm = speech(4.0)
            pictures, started_s = room.pictures, asyncio.get_running_loop().time()
            await stream(client, pcm, speed)
            client.send({"type": "flush"})
            assert (await client.reply("playback_finished"))["playback_position"] == 4.0
            await asyncio.sleep(0.1)
            elapsed_s = asyncio.get_running_loop().time() - started_s
            sound = room.sound()
            assert np.array_equal(sound[sound != 0], as_heard(pcm))
            assert room.pictures - pictures == pytest.approx(25 * elapsed_s, abs=1)

    run(scenario())


def test_a_stream_that_stalls_in_the_middle_of_a_word_goes_on_where_it_was(run: Run):
    """Three seconds of nothing: silence is heard, the picture goes on, nothing is lost, and the rest is heard at once.

    What the resampler holds back, 40 ms, comes with what follows.
    """

    async def scenario() -> None:
        async with speaking() as (room, client):
            pcm = speech(3.0)
            half = len(pcm) // 2
            await stream(client, pcm[:half], 2.0)
            await asyncio.sleep(3.0)
            pictures = room.pictures
            await asyncio.sleep(1.0)
            assert room.pictures - pictures == pytest.approx(25, abs=1)
            assert not any(packet.any() for packet in room.heard[-50:])
            delay_s = float(room.session.stats()["latency_ms"]) / 1000
            resumed = len(room.heard)
            await stream(client, pcm[half:], 2.0)
            client.send({"type": "flush"})
            assert (await client.reply("playback_finished"))["playback_position"] == 3.0
            await asyncio.sleep(0.1)
            sound = room.sound()
            assert np.array_equal(sound[sound != 0], as_heard(pcm))
            silent = next(index for index, packet in enumerate(room.heard[resumed:]) if packet.any())
            assert silent * 0.02 <= delay_s + 0.2

    run(scenario())


def test_a_clear_is_never_stuck_behind_audio(run: Run):
    """With ten seconds sent ahead, silence follows 5 ms after the clear; positions are those of what was heard."""

    async def scenario() -> None:
        async with speaking() as (room, client):
            pcm = speech(10.0)
            await stream(client, pcm, 1000.0)
            await client.reply("playback_started")
            await asyncio.sleep(1.234)
            before = len(room.heard)
            client.send({"type": "clear"})
            cleared = await client.reply("cleared")
            finished = await client.reply("playback_finished")
            assert finished["interrupted"]
            assert finished["playback_position"] == cleared["playback_position"]
            assert cleared["epoch"] == 1
            await asyncio.sleep(2)
            sound = room.sound()
            first = np.flatnonzero(sound)[0]
            position = round(cleared["playback_position"] * 48_000)
            assert first + position == 960 * before
            assert np.array_equal(sound[first : first + position], as_heard(pcm)[:position])
            assert not sound[960 * before + len(FADE) :].any()
            assert np.abs(np.diff(sound[960 * before - 1 :][: len(FADE)].astype(int))).max() < 16_000
            assert [reply["type"] for reply in client.replies][-2:] == ["playback_finished", "cleared"]

    run(scenario())


def test_what_was_cut_goes_on_where_it_was_cut(run: Run):
    """A false interruption: nothing of it is lost or heard twice, and the utterance starts and finishes once more."""

    async def scenario() -> None:
        async with speaking() as (room, client):
            pcm = speech(4.0)
            await stream(client, pcm, 1000.0)
            client.send({"type": "flush"})
            await client.reply("playback_started")
            await asyncio.sleep(1.2)
            client.send({"type": "clear"})
            cleared = await client.reply("cleared")
            await asyncio.sleep(1)
            quiet = len(room.heard) * 960
            client.send({"type": "resume"})
            resumed = await client.reply("resumed")
            left_ms = 4_000 - 1_000 * cleared["playback_position"]
            assert abs(resumed["duration_ms"] - left_ms) <= 1
            finished = await client.reply("playback_finished", 1)
            assert (finished["playback_position"], finished["interrupted"]) == (4.0, False)
            await asyncio.sleep(0.1)
            position = round(cleared["playback_position"] * 48_000)
            rest = room.sound()[quiet:]
            first = np.flatnonzero(rest)[0]
            wanted = as_heard(pcm)[position:]
            assert np.array_equal(rest[first : first + len(wanted)], wanted)

    run(scenario())


def test_a_resume_of_nothing_is_refused_with_a_reason(run: Run):
    async def scenario() -> None:
        async with speaking() as (_, client):
            client.send({"type": "resume"})
            assert (await client.reply("error"))["code"] == "unavailable"

    run(scenario())


def test_after_a_clear_a_new_utterance_is_heard_from_its_first_sample(run: Run):
    """What was still on its way of the old one is not."""

    async def scenario() -> None:
        async with speaking() as (room, client):
            await stream(client, speech(5.0), 1000.0)
            await asyncio.sleep(1)
            client.send({"type": "clear"})
            client.send(speech(1.0).tobytes())
            client.send({"type": "flush"})
            client.send({"type": "start", "sample_rate": RATE_HZ, "utterance_id": "next"})
            pcm = speech(2.0)[::-1]
            await client.reply("ready", 1)
            await asyncio.sleep(0.1)
            quiet = len(room.heard) * 960
            await stream(client, pcm, 10.0)
            client.send({"type": "flush"})
            finished = await client.reply("playback_finished", 1)
            assert (finished["utterance_id"], finished["playback_position"]) == ("next", 2.0)
            await asyncio.sleep(0.1)
            sound = room.sound()[quiet:]
            assert np.array_equal(sound[sound != 0], as_heard(pcm))
            assert [reply for reply in client.replies if reply["type"] == "error"] == []

    run(scenario())


def test_an_interruption_from_elsewhere_is_told_and_the_rest_dropped(run: Run):
    async def scenario() -> None:
        async with speaking() as (room, client):
            await stream(client, speech(2.0), 100.0)
            await asyncio.sleep(1)
            room.clear()
            assert (await client.reply("playback_finished"))["interrupted"]
            client.send(speech(1.0).tobytes())
            client.send({"type": "flush"})
            await asyncio.sleep(1)
            assert not room.session.source.speaking
            assert [reply["type"] for reply in client.replies if reply["type"] in ("error", "cleared")] == []

    run(scenario())


def test_a_client_that_vanishes_is_said_as_far_as_it_came(run: Run):
    """What was sent is heard, and the session is free for the next."""

    async def scenario() -> None:
        async with speaking() as (room, client):
            pcm = speech(1.0)
            await stream(client, pcm, 10.0)
            client.vanish()
            await client.serving
            await asyncio.sleep(2)
            sound = room.sound()
            assert np.array_equal(sound[sound != 0], as_heard(pcm))
            assert not room.session.source.speaking

    run(scenario())


def test_nonsense_is_answered_and_both_the_connection_and_the_utterance_live_on(run: Run):
    async def scenario() -> None:
        async with speaking() as (room, client):
            pcm = speech(1.0)
            client.send(pcm[:4800].tobytes())
            for message in ("{", "[]", '{"type":"start","sample_rate":1}', b"\0", bytes(70_000)):
                client.send(message)
            client.send({"type": "start", "sample_rate": RATE_HZ})
            client.send(pcm[4800:].tobytes())
            client.send({"type": "flush"})
            client.send({"type": "flush"})
            assert (await client.reply("playback_finished"))["playback_position"] == 1.0
            codes = [reply["code"] for reply in client.replies if reply["type"] == "error"]
            assert codes == [
                "bad_message",
                "bad_message",
                "already_started",
                "bad_pcm",
                "message_too_big",
                "already_started",
                "not_started",
            ]
            await asyncio.sleep(0.1)
            sound = room.sound()
            assert np.array_equal(sound[sound != 0], as_heard(pcm))

    run(scenario())


def test_nonsense_without_end_closes_the_connection(run: Run):
    async def scenario() -> None:
        async with speaking() as (room, client):
            for _ in range(MAX_ERRORS + 10):
                client.send("{")
            await client.serving
            assert client.closed == 1008
            assert client.replies[-1]["code"] == "too_many_errors"
            assert not room.session.source.speaking

    run(scenario())


def test_a_client_that_does_not_read_is_closed(run: Run):
    """Replies are bounded: it may miss them, and it may not make the server keep them."""

    async def scenario() -> None:
        async with speaking() as (room, client):
            client.reading.clear()
            client.send({"type": "flush"})
            for number in range(MAX_REPLIES_WAITING):
                client.send({"type": "start", "sample_rate": RATE_HZ, "utterance_id": str(number)})
                client.send({"type": "flush"})
            client.send({"type": "clear"})
            await client.serving
            assert client.closed == 1008
            assert room.session.stats()["packets_dropped"] == 0

    run(scenario())


def test_speech_beyond_what_may_wait_is_refused_with_a_code(run: Run):
    """A sender that ignores its limit by far is told so; what waited is heard."""

    async def scenario() -> None:
        async with speaking() as (_, client):
            second = speech(1.0).tobytes()
            for _ in range(33):
                client.send(second)
            client.send({"type": "flush"})
            assert (await client.reply("playback_finished"))["playback_position"] == pytest.approx(30, abs=1.5)
            codes = {reply["code"] for reply in client.replies if reply["type"] == "error"}
            assert codes == {"lead_exceeded"}

    run(scenario())


def test_ending_the_session_is_told(run: Run):
    async def scenario() -> None:
        async with speaking() as (_, client):
            client.connection.end("session_closed", "the session has ended")
            await client.serving
            assert client.closed == 1008
            assert client.replies[-1] == {
                "type": "error",
                "code": "session_closed",
                "message": "the session has ended",
            }

    run(scenario())
