"""One worker process and the pipe to it, without a model."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from functools import partial
from multiprocessing import resource_tracker
from pathlib import Path

from avacast.streaming.spawned_worker import SpawnedWorker


def blocked_signals(pid: int) -> set[int]:
    found = re.search(r"SigBlk:\s*([0-9a-f]+)", Path(f"/proc/{pid}/status").read_text())
    assert found
    return {number for number in range(1, 65) if int(found[1], 16) >> (number - 1) & 1}


def test_the_first_process_is_deaf_to_signals_of_the_group_from_its_start():
    """Also the one with which Python begins its resource tracker; and it ends with the pipe all the same."""
    resource_tracker._resource_tracker._stop()  # as in a server that has just been started

    async def scenario() -> None:
        gone = asyncio.Event()
        worker = SpawnedWorker((partial(time.sleep, 60), 1), lambda _: None, gone.set)
        assert worker.pid
        assert blocked_signals(worker.pid) >= {signal.SIGINT, signal.SIGTERM}
        started = time.monotonic()
        await worker.aclose()
        assert time.monotonic() - started < 3
        await asyncio.wait_for(gone.wait(), 5)
        assert worker._process.exitcode is not None

    asyncio.run(scenario())
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()
