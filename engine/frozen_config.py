"""What every configuration shares: it is read from a plain dictionary, unknown keys refused, and written to one.

This module knows dataclasses and JSON's types; it knows no setting.
"""

from __future__ import annotations

import dataclasses
from types import UnionType
from typing import Any, Self, get_args, get_type_hints

from avacast.engine.errors import BadSetting


class FrozenConfig:
    """Base of the frozen dataclasses in `config`."""

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Builds the configuration, nested ones included. Raises BadSetting on an unknown key, or no table."""
        if not isinstance(values, dict):  # pyright: ignore[reportUnnecessaryIsInstance]  # it comes from a file
            raise BadSetting(f"{cls.__name__} is {values!r}; give a table of its settings")
        hints = get_type_hints(cls)
        known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]  # subclasses are dataclasses
        if unknown := sorted(set(values) - known):
            raise BadSetting(f"{cls.__name__} does not know {', '.join(unknown)}; it knows {', '.join(sorted(known))}")
        return cls(**{name: _restore(hints[name], value) for name, value in values.items()})

    def to_dict(self) -> dict[str, Any]:
        """The inverse of `from_dict`, ready for JSON."""
        return dataclasses.asdict(self)  # type: ignore[call-overload]  # subclasses are dataclasses


def _restore(hint: Any, value: Any) -> Any:
    if isinstance(hint, UnionType):
        nested = [member for member in get_args(hint) if _is_config(member)]
        return nested[0].from_dict(value) if nested and value is not None else value
    if _is_config(hint):
        return hint.from_dict(value)
    return tuple(value) if isinstance(value, list) else value


def _is_config(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, FrozenConfig)
