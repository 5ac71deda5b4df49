"""A signal to end, heeded also by work that loses what the signal's handler raises.

PyTorch's tracer does: it makes so many objects that the garbage collector runs again and again, and with it the
`__del__` of weak references; what is raised in one is printed and forgotten, and a handler runs wherever Python happens
to be. Of sixty signals at random moments of an export four were lost so. Here the handler runs again until the work was
left, and at a last moment the process ends. Knows signals; knows nothing of the work.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)

AGAIN_S = 0.1
"""From one call of the handler to the next."""

LAST_S = 5.0
"""After a signal: native code may run for longer, and nobody waits for it."""


class Heeded:
    """Around work that may lose an exception. Signals keep the handlers that they had before; those must raise.

    `clean_up` is called where the process is ended in the midst of the work, from a thread of its own, since nothing is
    unwound then. Outside the main thread, where no handler runs, this does nothing.
    """

    def __init__(self, clean_up: Callable[[], None], *, last_s: float = LAST_S) -> None:
        self._clean_up = clean_up
        self._last_s = last_s
        self._handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}
        self._raised: list[BaseException] = []
        self._number = 0
        """Of the signal that is insisted on; 0 before one came."""
        self._left = threading.Event()
        self._insisting = threading.Thread(target=self._insist, name="termination", daemon=True)

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            if callable(handler := signal.getsignal(number)):
                self._handlers[number] = handler
                signal.signal(number, self._handle)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._left.set()
        if self._number:
            self._insisting.join()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        # Lost for good, or taken for a fault of the work.
        if self._number and not any(error is raised for raised in self._raised):
            self._handlers[self._number](self._number, None)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._left.is_set():
            return  # what the handler raised is on its way already
        try:
            self._handlers[number](number, frame)
        except BaseException as error:
            self._raised.append(error)
            if not self._number:
                self._number = number
                self._insisting.start()
            raise

    def _insist(self) -> None:
        last = time.monotonic() + self._last_s
        main = threading.main_thread().ident
        assert main is not None, "the main thread runs"
        while not self._left.wait(AGAIN_S):
            if time.monotonic() >= last:
                with contextlib.suppress(Exception):
                    self._clean_up()
                os._exit(128 + self._number)
            signal.pthread_kill(main, self._number)
