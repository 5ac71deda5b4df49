"""The manifest of a bundle: which files a model consists of, how long each is, and its SHA-256.

It reads files only as far as the manifest vouches for them. It knows nothing of what the files mean.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from avacast.engine.errors import BadBundle

FORMAT_VERSION = 1

MANIFEST = "manifest.json"
CONFIG = "config.json"

MAX_JSON_BYTES = 1 << 20
"""Bound of every JSON file of a bundle; ours are a few kilobytes."""

MEND = "fetch or write the bundle again"
"""What to do about a damaged bundle."""

_FILE_NAME = re.compile(r"config\.json|[a-z][a-z0-9_]*\.safetensors")


@dataclass(frozen=True)
class Entry:
    """What the manifest vouches for in one file."""

    sha256: str
    num_bytes: int

    @classmethod
    def of(cls, content: bytes) -> Entry:
        return cls(hashlib.sha256(content).hexdigest(), len(content))


@dataclass(frozen=True)
class Manifest:
    """The model's name and the files in its folder."""

    folder: Path
    name: str
    entries: Mapping[str, Entry]

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Reads `manifest.json`. Raises BadBundle when it is missing, damaged, foreign or of another format."""
        file = folder / MANIFEST
        if not file.is_file():
            raise BadBundle(f"there is no model folder at {folder}; name one that holds {MANIFEST}")
        content = read_bytes(file)
        values = parse_object(file, content)
        version = values.get("format_version")
        if version != FORMAT_VERSION:
            raise BadBundle(f"{file} has format version {version!r}, this avacast reads {FORMAT_VERSION}; {MEND}")
        if unknown := sorted(set(values) - {"format_version", "name", "files"}):
            raise BadBundle(f"{file} has the unknown key {', '.join(unknown[:5])}; {MEND}")
        name, files = values.get("name"), values.get("files")
        if not isinstance(files, dict) or not isinstance(name, str):
            raise BadBundle(f"{file} lacks the model's name or its list of files; {MEND}")
        entries = {key: _entry(file, key, value) for key, value in cast("dict[str, Any]", files).items()}
        # No digest guards the manifest itself, but a flipped byte cannot leave it exactly as we write it.
        if content != cls(folder, name, entries).to_json():
            raise BadBundle(f"{file} was changed after it was written; {MEND}")
        return cls(folder, name, entries)

    def to_json(self) -> bytes:
        files = {file: {"sha256": entry.sha256, "bytes": entry.num_bytes} for file, entry in self.entries.items()}
        return to_json({"format_version": FORMAT_VERSION, "name": self.name, "files": files})

    def check_length(self, file: str) -> None:
        """Raises BadBundle when `file` is not listed, missing or of another length."""
        path = self.folder / file
        if file not in self.entries:
            raise BadBundle(f"{self.folder / MANIFEST} lists no {file}, so the model is not whole; {MEND}")
        try:
            num_bytes = path.stat().st_size
        except OSError as error:
            raise BadBundle(f"{path} cannot be read ({error.strerror}); {MEND}") from error
        if num_bytes != self.entries[file].num_bytes:
            expected = self.entries[file].num_bytes
            raise BadBundle(f"{path} is {num_bytes} bytes long, the manifest says {expected}; {MEND}")

    def verify(self, file: str) -> None:
        """Raises BadBundle when `file`, of any size, is not the one that the manifest vouches for."""
        self.check_length(file)
        if file_digest(self.folder / file) != self.entries[file].sha256:
            raise BadBundle(f"{self.folder / file} is damaged: its SHA-256 is not the manifest's; {MEND}")

    def read_verified(self, file: str) -> bytes:
        """The bytes of `file` after their digest was checked. Raises BadBundle when they are not the manifest's."""
        self.check_length(file)
        content = read_bytes(self.folder / file)
        if Entry.of(content) != self.entries[file]:
            raise BadBundle(f"{self.folder / file} is damaged: its SHA-256 is not the manifest's; {MEND}")
        return content


def file_digest(file: Path) -> str:
    """SHA-256 of a file of any size. Raises BadBundle when it cannot be read."""
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise BadBundle(f"{file} cannot be read ({error.strerror}); {MEND}") from error


def to_json(values: Mapping[str, Any]) -> bytes:
    """The one way in which a bundle's JSON is written."""
    return (json.dumps(values, indent=2, sort_keys=True) + "\n").encode()


def parse_object(file: Path, content: bytes) -> dict[str, Any]:
    """The JSON object in `content`; `file` names it in a message. Raises BadBundle when it is none."""
    if len(content) > MAX_JSON_BYTES:
        raise BadBundle(f"{file} is {len(content)} bytes long, at most {MAX_JSON_BYTES} are read; {MEND}")
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadBundle(f"{file} is no JSON ({' '.join(str(error).split())}); {MEND}") from error
    if not isinstance(values, dict):
        raise BadBundle(f"{file} holds no JSON object; {MEND}")
    return cast("dict[str, Any]", values)


def read_bytes(file: Path) -> bytes:
    """The whole file. Raises BadBundle when it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise BadBundle(f"{file} cannot be read ({error.strerror}); {MEND}") from error


def _entry(file: Path, name: str, value: object) -> Entry:
    # The pattern leaves no way out of the folder.
    if _FILE_NAME.fullmatch(name) and isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        digest, num_bytes = fields.get("sha256"), fields.get("bytes")
        if set(fields) == {"sha256", "bytes"} and isinstance(digest, str) and isinstance(num_bytes, int):
            return Entry(digest, num_bytes)
    raise BadBundle(f"{file} has a line for {name!r} that is not understood; {MEND}")
