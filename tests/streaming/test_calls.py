"""All calls of one server, and how their places become free."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import numpy as np
import pytest

from avacast.engine.errors import Unavailable
from avacast.streaming.calls import Calls
from avacast.streaming.messages import Ready
from avacast.streaming.tts import Pcm, Words

PICTURE = np.zeros((64, 64, 3), np.uint8)


class NoEngine:
    """In the place of `Worker`: it takes everything and never answers."""

    def loaded_model(self) -> Ready:
        return Ready("m", 25, 64, 64, "float32")

    def open(self, session: str, picture: np.ndarray, seed: int, listener: object) -> None:
        assert (picture is PICTURE, seed) == (True, 0)
        assert session
        assert listener

    def close(self, session: str) -> None:
        assert session


class BrokenTTS:
    """A service whose connection cannot be closed in order."""

    sample_rate_hz = 24_000

    async def speak(self, text: str) -> AsyncGenerator[Pcm | Words]:
        yield Pcm(text.encode())

    async def aclose(self) -> None:
        raise OSError("broken")


def test_a_place_becomes_free_whatever_goes_wrong_in_the_end(caplog: pytest.LogCaptureFixture):
    """Or a server of two sessions would be full for ever after two faults; the log says what it was."""

    async def scenario() -> None:
        engine: Any = NoEngine()
        calls = Calls(engine, 1, BrokenTTS)
        call = calls.create(PICTURE)
        with pytest.raises(Unavailable, match="in use"):
            calls.create(PICTURE)
        await call.end("stopped", "the viewer stopped the session")
        assert len(calls) == 0
        await calls.create(PICTURE).end("stopped", "again")

    asyncio.run(scenario())
    assert "did not end in order" in caplog.text
    assert "OSError: broken" in caplog.text
