"""The HTTP server under the interface: its limits, and how a signal ends it.

Knows uvicorn; what is served is the business of whoever brings the application.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_SHUTDOWN_S = 3
MAX_HEADER_S = 10.0
"""How long the headers of a request may be on their way. Beyond it the connection is closed: whoever sends one letter
now and then would hold as many as he likes."""

MAX_WEBSOCKET_BYTES = 262_144
"""Beyond it the connection is closed with code 1009 before the message is whole. Each websocket refuses far smaller
ones itself (`speech_protocol`), with a reason, and stays open."""


def make_server(app: FastAPI) -> uvicorn.Server:
    """The server of `app`, not yet started; it stops on a signal or when `should_exit` is set."""
    config = uvicorn.Config(
        app,
        http=_Impatient,
        ws="websockets-sansio",
        ws_max_size=MAX_WEBSOCKET_BYTES,
        ws_per_message_deflate=False,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=MAX_SHUTDOWN_S,
    )
    return _OrderlyServer(config)


class _Impatient(H11Protocol):
    """One connection; uvicorn alone would wait for its requests for ever."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's signature
        super().connection_made(transport)
        self._await_headers()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._forget_deadline()
        elif self._deadline is None:
            self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_deadline()
        super().connection_lost(exc)

    def _await_headers(self) -> None:
        self._deadline = self.loop.call_later(MAX_HEADER_S, self.transport.close)

    def _forget_deadline(self) -> None:
        if self._deadline:
            self._deadline.cancel()
        self._deadline = None


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
