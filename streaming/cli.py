"""The console script `avacast`, from its first line to its exit code.

However a command ends, it ends with a fitting code and says at most one line. Which commands there are is the business
of `installed_commands`, which is imported when a Ctrl-C is already taken for what it is.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
from typing import NoReturn

from avacast.engine.errors import AvacastError

_INTERRUPTED = 130
"""What a shell expects of a command that Ctrl-C ended: 128 + SIGINT."""


def main() -> NoReturn:
    """Runs the command that was typed and exits with its code."""
    signal.signal(signal.SIGTERM, _terminate)
    # Whoever started this in the background may have said that Ctrl-C is not for it; that stays so.
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, _leave)
    try:
        from avacast.streaming.installed_commands import run

        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        code = run(sys.argv[1:] or ["--help"])
    except AvacastError as error:
        code = _report(error)
    except KeyboardInterrupt:
        code = _INTERRUPTED
    if code == _INTERRUPTED:
        _end_at_once()
    sys.exit(code)


def _end_at_once() -> NoReturn:
    """Ends a command that was interrupted, when it has cleaned up behind itself.

    Python would take apart all that was imported: a second of computing that a user who pressed Ctrl-C waits for, and a
    minute where the machine has other work.
    """
    atexit._run_exitfuncs()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # the only way to run them alone
    with contextlib.suppress(OSError):  # whoever read this has gone as well
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(_INTERRUPTED)


def _leave(_signum: int, _frame: object) -> NoReturn:
    # While commands are imported nothing is there to be cleaned up, and an exception might be taken for another.
    os._exit(_INTERRUPTED)


def _terminate(signum: int, _frame: object) -> NoReturn:
    # As an exception, so that files being written are removed on the way out.
    sys.exit(128 + signum)


def _report(error: AvacastError) -> int:
    if os.environ.get("AVACAST_TRACEBACK") == "1":
        raise error
    print(f"avacast: {' '.join(str(error).split())}", file=sys.stderr)  # noqa: T201  # the one line
    return error.exit_code
