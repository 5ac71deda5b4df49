"""Bodies of requests to a running server, slow ones and many: over plain sockets, as no client would send them."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from avacast.engine.errors import Unavailable
from avacast.streaming import http_server, request_body
from avacast.streaming.http_server import make_server
from avacast.streaming.portraits import Portraits
from avacast.streaming.server import make_app
from avacast.streaming.worker import Worker

UPLOAD = b"PUT /api/portraits HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 1000000\r\n\r\nabc"


def never() -> None:
    raise Unavailable("there is no engine in these tests")


@pytest.fixture
def connect(gallery: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Callable[[], socket.socket]]:
    """Connects to a server without an engine, whose patience is short."""
    monkeypatch.setattr(request_body, "MAX_BODY_S", 0.4)
    monkeypatch.setattr(http_server, "MAX_HEADER_S", 0.4)
    listening = socket.create_server(("127.0.0.1", 0))
    server = make_server(make_app(Worker(never, num_threads=1), max_sessions=1, portraits=Portraits(gallery)))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
    thread.start()
    opened: list[socket.socket] = []

    def connecting() -> socket.socket:
        opened.append(socket.create_connection(listening.getsockname(), timeout=10))
        return opened[-1]

    yield connecting
    for connection in opened:
        connection.close()
    server.should_exit = True
    thread.join(10)


def answer_of(connection: socket.socket) -> tuple[int, str]:
    """Status and code of the error that comes."""
    received = b""
    while b"}}" not in received:
        more = connection.recv(65_536)
        assert more, received
        received += more
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]["code"]


def test_a_body_that_drips_is_given_up(connect: Callable[[], socket.socket]):
    connection = connect()
    connection.sendall(UPLOAD)
    assert answer_of(connection) == (408, "request_timeout")


def test_only_some_uploads_are_taken_at_once(connect: Callable[[], socket.socket], monkeypatch: pytest.MonkeyPatch):
    """Each may be 10 MB in memory. The others are told to come back, and may when the first have gone."""
    monkeypatch.setattr(request_body, "MAX_BODY_S", 30)
    first = [connect() for _ in range(request_body.MAX_UPLOADS)]
    for connection in first:
        connection.sendall(UPLOAD)
    time.sleep(0.5)
    more = connect()
    more.sendall(UPLOAD)
    assert answer_of(more) == (503, "unavailable")
    for connection in first:
        connection.close()
    answer, deadline = (503, "unavailable"), time.monotonic() + 10
    while answer == (503, "unavailable"):
        assert time.monotonic() < deadline
        again = connect()
        again.sendall(UPLOAD.replace(b"1000000", b"3"))
        answer = answer_of(again)
    assert answer == (422, "bad_portrait")


@pytest.mark.parametrize("before", [b"", b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n"], ids=["first", "later"])
def test_headers_that_drip_close_the_connection(connect: Callable[[], socket.socket], before: bytes):
    connection = connect()
    connection.sendall(before)
    if before:
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
    connection.sendall(b"GET / HT")
    started = time.monotonic()
    rest = b"x"
    while rest:
        rest = connection.recv(65_536)
    assert time.monotonic() - started < 3
