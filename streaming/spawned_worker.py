"""One worker process and the pipe to it, as the server starts and ends them.

What the process says is handed on in the event loop, in order, and last of all that it has gone. Knows processes,
signals and the pipe; knows nothing of what is said, nor of when to start another.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from typing import Any

from avacast.streaming.channel import Channel
from avacast.streaming.messages import Command, Event
from avacast.streaming.worker_process import run

MAX_LEAVING_S = 1.0
"""How long a process that was asked to end may take, before it is killed."""


class SpawnedWorker:
    """Started when it is made.

    Args:
        arguments: of `worker_process.run` after its connection; they are pickled.
        on_event: called with each message.
        on_gone: called once, when the process has ended or was closed.
    """

    def __init__(
        self, arguments: tuple[object, ...], on_event: Callable[[Event], None], on_gone: Callable[[], None]
    ) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe(duplex=True)
        self._process = context.Process(target=run, args=(theirs, *arguments), name="avacast-worker", daemon=True)
        _start_deaf(self._process)
        theirs.close()
        loop = asyncio.get_running_loop()

        def in_loop(function: Callable[..., None], *args: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended before the process did
                loop.call_soon_threadsafe(function, *args)

        self._channel = Channel(ours, lambda message: in_loop(on_event, message), lambda: in_loop(on_gone))
        self._channel.start()

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def post(self, command: Command) -> bool:
        """Queues a command; False when the process has not read for so long that the queue is full."""
        return self._channel.post(command)

    def kill(self) -> None:
        self._process.kill()

    async def aclose(self) -> None:
        """Ends the process: asked first, killed after a second. Always returns."""
        self._channel.close()
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        self._process.join(MAX_LEAVING_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(2 * MAX_LEAVING_S)


def _start_deaf(process: BaseProcess) -> None:
    """Ctrl-C and a service manager's SIGTERM reach the whole group of processes. The worker ends when the pipe does, so
    it never sees them: the mask is inherited, also for the time before it could install a handler.
    """
    resource_tracker.ensure_running()  # or `start` begins it, which takes the mask off again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
