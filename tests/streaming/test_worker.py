"""The real worker process: its answers, its death and its end."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from avacast.engine.errors import BadBundle, Unavailable
from avacast.engine.pipeline import Pipeline
from avacast.streaming import worker as worker_module
from avacast.streaming.messages import Frames
from avacast.streaming.model import load_repeatable
from avacast.streaming.recorded_session import RecordingFolder
from avacast.streaming.worker import Worker

SILENCE = np.zeros(640, np.float32)


class Heard:
    """What a session hears from the worker."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.numbers: list[int] = []
        self.ended: asyncio.Future[tuple[str, str]] = asyncio.get_running_loop().create_future()

    def on_opened(self, familiar: bool) -> None:
        self.familiar = familiar
        self.opened.set()

    def on_frames(self, frames: Frames) -> None:
        self.numbers += frames.numbers

    def on_ended(self, code: str, message: str) -> None:
        self.ended.set_result((code, message))


@asynccontextmanager
async def running(load: Callable[[], Pipeline], recordings: RecordingFolder | None = None) -> AsyncGenerator[Worker]:
    worker = Worker(load, num_threads=1, recordings=recordings)
    try:
        await worker.start()
        yield worker
    finally:
        await worker.aclose()


async def loaded(worker: Worker) -> None:
    while worker.model is None:  # noqa: ASYNC110  # as a caller sees it: by trying again
        await asyncio.sleep(0.05)


async def run_session(worker: Worker, name: str, picture: np.ndarray) -> Heard:
    """Opens a session and feeds it until frames have come."""
    heard = Heard()
    worker.open(name, picture, 0, heard)
    await asyncio.wait_for(heard.opened.wait(), 30)
    number = 0
    while not heard.numbers:
        worker.push(name, number, SILENCE, number)
        number += 1
        await asyncio.sleep(0.01)
    return heard


def test_frames_come_back_and_the_process_ends_when_asked(load_tiny: partial[Pipeline], picture: np.ndarray):
    async def scenario() -> None:
        async with running(load_tiny) as worker:
            assert worker.model
            assert (worker.model.model, worker.model.height) == ("tiny", 64)
            heard = await run_session(worker, "a", picture)
            assert heard.numbers == list(range(len(heard.numbers)))
            pid = worker.pid
            assert pid
            started = time.monotonic()
        assert time.monotonic() - started < 3
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    asyncio.run(scenario())


def test_recordings_are_whole_when_the_server_ends_in_mid_session(
    load_tiny: partial[Pipeline], picture: np.ndarray, tmp_path: Path
) -> None:
    """Nobody closed the sessions; their folders have their names all the same, and `avacast replay` takes them."""

    async def scenario() -> None:
        async with running(load_tiny, RecordingFolder(tmp_path, None)) as worker:
            for name in ("a", "b"):
                await run_session(worker, name, picture)

    asyncio.run(scenario())
    assert sorted(path.name[-2:] for path in tmp_path.iterdir()) == ["-a", "-b"]


def test_death_is_told_to_sessions_and_later_ones_get_a_new_process(load_tiny: partial[Pipeline], picture: np.ndarray):
    """After SIGKILL the session hears engine_failed; opening is refused until the next process is ready."""

    async def scenario() -> None:
        async with running(load_tiny) as worker:
            heard = await run_session(worker, "a", picture)
            assert worker.pid
            first = worker.pid
            os.kill(first, signal.SIGKILL)
            code, _ = await asyncio.wait_for(heard.ended, 5)
            assert code == "engine_failed"
            with pytest.raises(Unavailable, match="starting"):
                worker.open("b", picture, 0, Heard())
            await asyncio.wait_for(loaded(worker), 60)
            assert worker.pid != first
            assert (await run_session(worker, "c", picture)).numbers

    asyncio.run(scenario())


def test_a_worker_that_dies_too_often_stays_down(
    load_tiny: partial[Pipeline], picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    """Whoever wants a session is told to start the server again, and not to try again in a moment."""
    monkeypatch.setattr(worker_module, "MAX_CRASHES", 1)

    async def scenario() -> None:
        async with running(load_tiny) as worker:
            assert worker.pid
            os.kill(worker.pid, signal.SIGKILL)
            while worker.model:  # noqa: ASYNC110  # as a caller sees it: by trying again
                await asyncio.sleep(0.01)
            with pytest.raises(Unavailable, match="start the server again"):
                worker.open("a", picture, 0, Heard())

    asyncio.run(scenario())


def test_a_worker_that_hangs_is_killed_and_another_takes_its_place(
    load_tiny: partial[Pipeline], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(worker_module, "MAX_SILENCE_S", 2.5)

    async def scenario() -> None:
        async with running(load_tiny) as worker:
            first = worker.pid
            assert first
            os.kill(first, signal.SIGSTOP)
            async with asyncio.timeout(30):
                while worker.pid == first:  # noqa: ASYNC110  # as a caller sees it: by trying again
                    await asyncio.sleep(0.05)

    asyncio.run(scenario())


def test_a_model_that_does_not_load_raises_its_own_error(tmp_path: Path):
    """A missing bundle is a BadBundle in the server's process too, with the text that says what to do."""

    async def scenario() -> None:
        with pytest.raises(BadBundle, match="nothing-here"):
            async with running(partial(load_repeatable, tmp_path / "nothing-here")):
                pass

    asyncio.run(scenario())
