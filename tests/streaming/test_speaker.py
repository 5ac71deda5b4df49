"""What is typed, spoken by a speech service into the session."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence

import numpy as np
import pytest

from avacast.engine.errors import BadText, Unavailable
from avacast.streaming.captions import CHAR_S
from avacast.streaming.session_events import Event
from avacast.streaming.speaker import MAX_TEXTS, Speaker
from avacast.streaming.tts import Pcm, SpeechServiceError, Word, Words
from avacast.streaming.tts_espeak import EspeakTTS
from avacast.streaming.utterance import Interrupted, Utterance

SECOND = bytes(48_000)


def ignore(event: Event) -> None:
    """For tests that are about sound."""


class Scripted:
    """A service whose pieces are given; an error among them is raised, a number is waited for in seconds."""

    sample_rate_hz = 24_000

    def __init__(self, script: Sequence[bytes | float | Exception | Words]) -> None:
        self.script = script
        self.texts: list[str] = []
        self.num_stopped = 0
        self.closed = False

    async def speak(self, text: str) -> AsyncGenerator[Pcm | Words]:
        self.texts.append(text)
        try:
            for piece in self.script:
                match piece:
                    case bytes():
                        yield Pcm(piece)
                    case Words():
                        yield piece
                    case float():
                        await asyncio.sleep(piece)
                    case Exception():
                        raise piece
        except (asyncio.CancelledError, GeneratorExit):
            self.num_stopped += 1
            raise

    async def aclose(self) -> None:
        self.closed = True


def test_the_embedded_voice_is_heard_and_its_length_told():
    async def scenario() -> None:
        said: list[Utterance] = []
        speaker = Speaker(EspeakTTS(), said.append, ignore)
        duration_s = await speaker.say("Hello there.")
        (utterance,) = said
        assert utterance.ended
        assert utterance.num_pushed == round(48_000 * duration_s)
        assert 0.5 < duration_s < 2
        assert np.abs(utterance.take(48_000)).max() > 0.1
        await speaker.aclose()

    asyncio.run(scenario())


def test_a_fault_in_a_service_is_raised_and_nobody_waits_for_ever():
    """Whoever asked is told, as of any other fault; the next text is spoken."""

    async def scenario() -> None:
        said: list[Utterance] = []
        tts = Scripted([ZeroDivisionError("a bug")])
        speaker = Speaker(tts, said.append, ignore)
        with pytest.raises(ZeroDivisionError):
            async with asyncio.timeout(5):
                await speaker.say("Hello.")
        tts.script = [SECOND]
        assert await speaker.say("Hello.") == pytest.approx(1.0)
        await speaker.aclose()

    asyncio.run(scenario())


def test_a_text_that_is_interrupted_before_its_task_has_begun_is_told_so():
    """As when two requests come together: the one that speaks must not wait for ever."""

    async def scenario() -> None:
        tts = Scripted([SECOND])
        speaker = Speaker(tts, lambda _: None, ignore)
        saying = asyncio.create_task(speaker.say("Hello."))
        await asyncio.sleep(0)
        speaker.clear()
        with pytest.raises(Interrupted):
            async with asyncio.timeout(2):
                await saying
        assert tts.texts == []
        await speaker.aclose()

    asyncio.run(scenario())


def test_speech_is_heard_while_it_comes():
    """The answer comes with the second piece: the length is an estimate then, and the utterance goes on."""

    async def scenario() -> None:
        said: list[Utterance] = []
        tts = Scripted([Words(()), SECOND, SECOND, 0.05, SECOND])
        speaker = Speaker(tts, said.append, ignore)
        assert await speaker.say("x" * 100) == CHAR_S * 100
        assert not said[0].ended
        assert said[0].num_waiting > 40_000
        await asyncio.sleep(0.2)
        assert said[0].ended
        assert said[0].num_pushed == 3 * 48_000
        await speaker.aclose()
        assert tts.closed
        assert tts.num_stopped == 0

    asyncio.run(scenario())


def test_texts_are_spoken_in_turn():
    async def scenario() -> None:
        said: list[Utterance] = []
        tts = Scripted([SECOND, 0.02, SECOND])
        speaker = Speaker(tts, said.append, ignore)
        await asyncio.gather(*(speaker.say(text) for text in ("one", "two", "three")))
        await asyncio.sleep(0.1)
        assert tts.texts == ["one", "two", "three"]
        assert [utterance.name for utterance in said] == ["text-1", "text-2", "text-3"]
        assert {utterance.num_pushed for utterance in said} == {2 * 48_000}
        await speaker.aclose()

    asyncio.run(scenario())


def test_an_interruption_stops_the_service_and_what_waits_for_it():
    async def scenario() -> None:
        said: list[Utterance] = []
        tts = Scripted([SECOND, SECOND, 9.0, SECOND])
        speaker = Speaker(tts, said.append, ignore)
        await speaker.say("one")
        waiting = asyncio.create_task(speaker.say("two"))
        await asyncio.sleep(0.01)
        speaker.clear()
        with pytest.raises(Interrupted):
            await waiting
        said[0].cut()
        assert (tts.texts, tts.num_stopped) == (["one"], 1)
        tts.script = [SECOND]
        assert await speaker.say("three") == 1.0
        await speaker.aclose()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("script", "error"),
    [([SpeechServiceError("refused")], SpeechServiceError), ([], BadText), ([BadText("empty")], BadText)],
    ids=["refused", "no sound", "empty"],
)
def test_a_text_that_is_not_spoken_is_an_error_and_the_next_one_works(
    script: list[bytes | Exception], error: type[Exception]
):
    async def scenario() -> None:
        said: list[Utterance] = []
        tts = Scripted(script)
        speaker = Speaker(tts, said.append, ignore)
        with pytest.raises(error):
            await speaker.say("one")
        assert said == []
        tts.script = [SECOND]
        assert await speaker.say("two") == 1.0
        await speaker.aclose()

    asyncio.run(scenario())


def test_a_service_that_fails_later_is_heard_as_far_as_it_came(caplog: pytest.LogCaptureFixture):
    async def scenario() -> None:
        said: list[Utterance] = []
        speaker = Speaker(Scripted([SECOND, SECOND, 0.01, SpeechServiceError("gone")]), said.append, ignore)
        await speaker.say("one")
        await asyncio.sleep(0.1)
        assert said[0].ended
        assert not said[0].was_cut
        assert said[0].num_pushed > 90_000
        await speaker.aclose()

    asyncio.run(scenario())
    assert "text-1 was not spoken to its end: gone" in caplog.text


def test_a_session_that_takes_no_more_is_an_error():
    def refuse(utterance: Utterance) -> None:
        raise Unavailable(f"{utterance.name} has to wait")

    async def scenario() -> None:
        speaker = Speaker(Scripted([SECOND]), refuse, ignore)
        with pytest.raises(Unavailable, match="text-1 has to wait"):
            await speaker.say("one")
        await speaker.aclose()

    asyncio.run(scenario())


def test_too_many_texts_are_refused():
    async def scenario() -> None:
        said: list[Utterance] = []
        speaker = Speaker(Scripted([9.0]), said.append, ignore)
        waiting = [asyncio.create_task(speaker.say("one")) for _ in range(MAX_TEXTS)]
        await asyncio.sleep(0.01)
        with pytest.raises(Unavailable, match="wait already"):
            await speaker.say("one more")
        await speaker.aclose()
        for task in waiting:
            with contextlib.suppress(Interrupted):
                await task

    asyncio.run(scenario())


def test_captions_follow_what_is_heard():
    """With the times that the service tells, also when they come after the sound."""

    async def scenario() -> None:
        said: list[Utterance] = []
        told: list[Event] = []
        tts = Scripted([SECOND, Words((Word("Hello", 0.0, 0.5), Word("there", 0.5, 1.0)))])
        speaker = Speaker(tts, said.append, told.append)
        await speaker.say("Hello there")
        for _ in range(50):
            said[0].hear(960, 0.0)
        await speaker.aclose()
        assert [(event["type"], event.get("num_heard")) for event in told] == [
            ("caption", 1),
            ("caption", 2),
            ("caption_end", None),
        ]

    asyncio.run(scenario())
