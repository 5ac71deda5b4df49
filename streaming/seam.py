"""A private name of a library that we rely on: read and replaced here only, so that a version without it says so."""

from __future__ import annotations

from typing import Any


def read_seam(owner: object, name: str) -> Any:
    assert hasattr(owner, name), f"this version of {type(owner).__module__} has no {type(owner).__name__}.{name}"
    return getattr(owner, name)


def replace_seam(owner: object, name: str, value: object) -> None:
    read_seam(owner, name)
    setattr(owner, name, value)
