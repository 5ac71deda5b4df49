"""Messages between two processes that never make the sender wait: a pipe with a thread on either side of it.

Knows pickled messages and the end of the other side; knows nothing of what they mean.
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any


class Channel:
    """One end of a duplex pipe.

    Outgoing messages wait in a bounded queue. Policy when full: `post` refuses and returns False, and the caller says
    what that means. Incoming ones are handed to `on_message` in the reader's thread; a callback that blocks is what
    holds the other side back. `on_closed` is called once, when the other side has gone or `close` was called.
    """

    def __init__(
        self,
        connection: Connection[Any, Any],
        on_message: Callable[[Any], object],
        on_closed: Callable[[], object],
        *,
        max_waiting: int = 256,
    ) -> None:
        self._connection = connection
        self._on_message = on_message
        self._on_closed = on_closed
        self._outbox: queue.Queue[Any] = queue.Queue(max_waiting)
        self._threads = [
            threading.Thread(target=self._read, name="channel-reader", daemon=True),
            threading.Thread(target=self._write, name="channel-writer", daemon=True),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def post(self, message: object) -> bool:
        """Queues a message; False when the queue is full."""
        try:
            self._outbox.put_nowait(message)
        except queue.Full:
            return False
        return True

    def close(self) -> None:
        """Ends both directions; the other side sees the end of the stream, and both threads here return."""
        # Closing a descriptor does not wake a thread that reads it; shutting the socket down does.
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self._connection.fileno())) as end:
            end.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(queue.Full):
            self._outbox.put_nowait(None)

    def _read(self) -> None:
        # ValueError, TypeError: the connection was closed by this side between two reads.
        with contextlib.suppress(EOFError, OSError, ValueError, TypeError):
            while True:
                self._on_message(self._connection.recv())
        self.close()  # or the writer would wait for messages to nobody, for ever
        self._on_closed()

    def _write(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while (message := self._outbox.get()) is not None:
                self._connection.send(message)
