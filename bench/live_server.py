"""A real `avacast serve` of its own, started for a measurement and ended after it."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sysconfig
from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

MAX_STOP_S = 10


class LiveServer(NamedTuple):
    """A server that runs."""

    address: str
    pid: int
    """Of the server; its worker process is a child of it."""


@contextlib.contextmanager
def live_server(bundle: Path | None = None) -> Generator[str]:
    """Starts the server on a free port and yields its address once the model is loaded. None: the embedded bundle."""
    with live_process(bundle) as server:
        yield server.address


@contextlib.contextmanager
def live_process(bundle: Path | None = None) -> Generator[LiveServer]:
    """`live_server`, for who has to know the process too."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(Path(sysconfig.get_path("scripts")) / "avacast"), "serve", "--port", str(port)]
    command += ["--bundle", str(bundle)] if bundle else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  # our own command
        try:
            assert process.stdout
            line = process.stdout.readline()
            assert line.startswith("avacast is live on "), f"the server did not start; its first line was {line!r}"
            yield LiveServer(line.split()[-1], process.pid)
        finally:
            process.terminate()
            process.wait(MAX_STOP_S)
