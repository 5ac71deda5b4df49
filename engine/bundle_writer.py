"""A bundle being written: beside its place first, flushed to disk, then renamed into it.

Whatever goes wrong before the last step leaves the place as it was. This module knows files and folders; of the
networks it knows names and tensors, which it takes one at a time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path

from torch import Tensor

from avacast.engine.config import ModelConfig
from avacast.engine.errors import BadSetting, Unavailable
from avacast.engine.manifest import CONFIG, MANIFEST, Entry, Manifest, to_json
from avacast.engine.tensor_file import OnTensor, tensor_file_pieces


class BundleWriter:
    """The unfinished bundle in its folder. Made by `writing_bundle`."""

    def __init__(self, folder: Path, config: ModelConfig) -> None:
        self._folder = folder
        self._name = config.name
        self._entries: dict[str, Entry] = {}
        self._write(CONFIG, [to_json(config.to_dict())])

    def add(self, network: str, tensors: Mapping[str, Tensor], on_tensor: OnTensor | None = None) -> None:
        """Writes the weights of one network; `on_tensor` is called after each tensor."""
        self._write(f"{network}.safetensors", tensor_file_pieces(tensors, on_tensor))

    def finish(self) -> None:
        """Writes the manifest, without which the folder is no bundle."""
        manifest = Manifest(self._folder, self._name, self._entries)
        _write_synced(self._folder / MANIFEST, [manifest.to_json()])

    def _write(self, file: str, pieces: Iterable[bytes | memoryview]) -> None:
        self._entries[file] = _write_synced(self._folder / file, pieces)


@contextlib.contextmanager
def writing_bundle(path: Path, config: ModelConfig) -> Generator[BundleWriter]:
    """A bundle for the folder `path`; it is there once the block has ended without an error, an older one replaced.

    Raises BadSetting when something else lies at `path`, Unavailable when the disk refuses.
    """
    path = path.absolute()
    check_place(path)
    try:
        with _folder_beside(path) as folder:
            writer = BundleWriter(folder, config)
            yield writer
            writer.finish()
            _replace_folder(folder, path)
    except OSError as error:
        raise Unavailable(
            f"the bundle {path} could not be written ({error.strerror}); check disk and rights"
        ) from error


def check_place(path: Path) -> None:
    """Raises BadSetting when something lies at `path` that is neither a bundle nor an empty folder."""
    if path.exists() and not (path / MANIFEST).is_file() and not _is_empty_folder(path):
        raise BadSetting(f"{path} exists and is no bundle; choose another folder")


def _write_synced(file: Path, pieces: Iterable[bytes | memoryview]) -> Entry:
    digest, num_bytes = hashlib.sha256(), 0
    with file.open("wb") as stream:
        for piece in pieces:
            stream.write(piece)
            digest.update(piece)
            num_bytes += len(piece)
        stream.flush()
        os.fsync(stream.fileno())
    return Entry(digest.hexdigest(), num_bytes)


@contextlib.contextmanager
def _folder_beside(path: Path) -> Generator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _replace_folder(folder: Path, path: Path) -> None:
    """Renames `folder` to `path`; no folder can be renamed over a full one, so the old one steps aside first."""
    _sync_folder(folder)
    with _folder_beside(path) as aside:
        old = aside / "old"
        if path.exists():
            path.rename(old)
        try:
            folder.rename(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())
