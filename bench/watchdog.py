"""A run that cannot be stopped in time, or that somebody stops, loses nothing: what it has so far is saved again and
again, and at a last moment the process ends.

Knows a clock, a way to save and a last moment; knows nothing of what is measured.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from avacast.engine.errors import AvacastError

EVERY_S = 5.0
"""Between two saves: what is lost at most to somebody who kills the process."""

LAST_WORDS_S = 4.0
"""In which they can be said; a pipe that nobody reads would hold them for ever."""

EXIT_CODE = 5
"""As `Unavailable`'s: the machine could not do it in the time."""


class Watchdog:
    """Watches over the work inside its `with`. A compiler or a hung device asks nobody for the time, so this does."""

    def __init__(
        self,
        save: Callable[[], None],
        *,
        last_s: float,
        every_s: float = EVERY_S,
        last_words: Callable[[], None] = lambda: None,
    ) -> None:
        """`save` is called from a thread of its own, and once more when the work is ended by an error or a signal.

        After `last_s` seconds it is called for the last time, then `last_words`, and the process ends.
        """
        self._save = save
        self._last_words = last_words
        self._last = time.monotonic() + last_s
        self._every_s = every_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        if error is not None:
            with contextlib.suppress(AvacastError):
                self._save()

    def _watch(self) -> None:
        while not self._done.wait(min(self._every_s, max(0.0, self._last - time.monotonic()))):
            # The work goes on adding figures meanwhile; a moment later they stand still for long enough. And where
            # nothing can be written, the work itself says so.
            with contextlib.suppress(Exception):
                self._save()
            if time.monotonic() >= self._last:
                self._end()

    def _end(self) -> None:
        """Says the last words and ends the process, also where they cannot be said or nobody reads them."""
        speaking = threading.Thread(target=self._speak, name="last words", daemon=True)
        speaking.start()
        speaking.join(LAST_WORDS_S)
        os._exit(EXIT_CODE)

    def _speak(self) -> None:
        try:
            self._last_words()
        finally:
            print("avacast: the time is over in the middle of a measurement; the rest is left out", file=sys.stderr)
            sys.stderr.flush()
            sys.stdout.flush()
