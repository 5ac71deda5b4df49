"""The HTTP server under the interface: its limits, and how a signal ends it.

Knows uvicorn; what is served is the business of whoever brings the application.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

MAX_SHUTDOWN_S = 3
MAX_WEBSOCKET_BYTES = 262_144
"""Beyond it the connection is closed with code 1009 before the message is whole. Each websocket refuses far smaller
ones itself (`speech_protocol`), with a reason, and stays open."""


def make_server(app: FastAPI) -> uvicorn.Server:
    """The server of `app`, not yet started; it stops on a signal or when `should_exit` is set."""
    config = uvicorn.Config(
        app,
        ws="websockets-sansio",
        ws_max_size=MAX_WEBSOCKET_BYTES,
        ws_per_message_deflate=False,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=MAX_SHUTDOWN_S,
    )
    return _OrderlyServer(config)


class _OrderlyServer(uvicorn.Server):
    """Ends on SIGINT and SIGTERM, and that is all of it.

    uvicorn raises the signal once more when it has ended, which would cut short whatever is closed after it, and turn
    an end that was asked for into a failure.
    """

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
