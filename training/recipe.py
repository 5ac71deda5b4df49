"""What every recipe shares: numbers with defaults, frozen, checked, and read from a TOML file.

Knows files and kinds of values; what the numbers do is the business of whoever trains by them.
"""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import Any, Self

from avacast.engine.errors import BadSetting
from avacast.engine.frozen_config import FrozenConfig


@dataclasses.dataclass(frozen=True)
class Recipe(FrozenConfig):
    """Base of the recipes. A value of another kind than its default's raises BadSetting."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.default is not dataclasses.MISSING:
                _check_kind(field.name, value, field.default)

    @classmethod
    def read(cls, path: Path) -> Self:
        """The recipe in a TOML file, a table for each part that has numbers of its own.

        Raises BadSetting for a file that is missing or none, for an unknown key, and for a value that does not work.
        """
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise BadSetting(f"the recipe {path} cannot be read ({error.strerror}); check the path") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise BadSetting(f"the recipe {path} is no TOML ({error}); write it as `name = value` lines") from error
        try:
            return cls.from_dict(values)
        except BadSetting as error:
            raise BadSetting(f"{path}: {error}") from error


def _check_kind(name: str, value: Any, default: Any) -> None:
    """Raises BadSetting unless `value` is of the kind of `default`; a whole number may stand for any."""
    if isinstance(default, tuple):
        named = isinstance(default[0], str)
        kinds = (int, float) if type(default[0]) is float else (type(default[0]),)
        fits = isinstance(value, tuple) and all(type(part) in kinds for part in value)
        numbers = "a list of numbers" if float in kinds else "a list of whole numbers"
        wanted = "a list of names" if named else numbers
    elif isinstance(default, bool):
        fits, wanted = isinstance(value, bool), "true or false"
    elif isinstance(default, int):
        fits, wanted = type(value) is int, "a whole number"
    else:
        fits, wanted = type(value) in (int, float) or value is default is None, "a number"
    if not fits:
        raise BadSetting(f"{name} is {value!r}; give {wanted}")
