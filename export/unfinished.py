"""An export's folder while it is made: hidden, beside its place, and renamed into it when it is whole.

Nothing of it outlives its process but where that is killed; then the next export clears it. Whether a process lives is
told by the lock that it holds on its folder, which ends with it however it ends, and not by its number, which another
process may have by now, or one that lives in another container; the number in the folder's name is for people. On a
file system without locks folders are left alone. Knows files and folders; knows no network.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

_SUFFIX = ".unfinished"
_NAME = re.compile(rf"\.(?P<place>.+)-\d+-[^-]+{re.escape(_SUFFIX)}")
"""Of a hidden folder: the export's name, the number of its process, and something that no other has."""


class Unfinished:
    """An export that is being made. Made by `unfinished`."""

    def __init__(self, place: Path, beside: Path) -> None:
        self._place, self._beside = place, beside
        self.folder = beside / "new"
        """What will lie at the place; empty at first."""
        self.folder.mkdir()

    def put_in_place(self) -> None:
        """Renames the folder to its place; what is there steps aside first, and back where that fails or is stopped."""
        try:
            if self._place.exists():
                self._place.rename(_aside(self._beside))
            self.folder.rename(self._place)
        except BaseException:
            _put_back(self._beside, self._place)
            raise

    def discard(self) -> None:
        """Removes all that is not at its place; what had stepped aside for it is put back."""
        _discard(self._beside, self._place)


@contextlib.contextmanager
def unfinished(place: Path) -> Generator[Unfinished]:
    """A folder for what is to lie at `place`, removed at the end unless it was put there. Raises OSError.

    Clears what killed exports left in the same folder.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    clear_leftovers(place.parent)
    beside, lock = _locked(place)
    try:
        export = Unfinished(place, beside)
        try:
            yield export
        finally:
            export.discard()
    finally:
        os.close(lock)


def clear_leftovers(parent: Path) -> None:
    """Removes the folders in `parent` whose processes have ended; an older export that had stepped aside comes back."""
    for folder in parent.glob(f".*{_SUFFIX}"):
        if (match := _NAME.fullmatch(folder.name)) is None:
            continue
        with contextlib.suppress(OSError):  # its process lives, or has just removed it, or nothing can be said of it
            lock = os.open(folder, os.O_RDONLY)
            try:
                _lock(lock, wait=False)
                _discard(folder, parent / match["place"])
            finally:
                os.close(lock)


def _locked(place: Path) -> tuple[Path, int]:
    """A new folder beside `place`, and the lock on it."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f".{place.name}-{os.getpid()}-", suffix=_SUFFIX, dir=place.parent))
        with contextlib.suppress(FileNotFoundError):
            lock = os.open(folder, os.O_RDONLY)
            with contextlib.suppress(OSError):  # where there are no locks, nobody clears
                _lock(lock, wait=True)
            if folder.exists():
                return folder, lock
            # Another export took it for a leftover before it was locked, and has removed it.
            os.close(lock)


def _lock(descriptor: int, *, wait: bool) -> None:
    """Locks an open folder for as long as it is open. Raises OSError."""
    fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


def _discard(beside: Path, place: Path) -> None:
    _put_back(beside, place)
    shutil.rmtree(beside, ignore_errors=True)


def _put_back(beside: Path, place: Path) -> None:
    if _aside(beside).exists() and not place.exists():
        _aside(beside).rename(place)


def _aside(beside: Path) -> Path:
    return beside / "old"
