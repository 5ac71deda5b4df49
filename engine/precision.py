"""The number types in which a model's networks run: one for the transformer, one for the auto-encoder.

Knows their names, as the command line and recordings write them. Which ones are fastest is `precision_choice`'s.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from avacast.engine.errors import BadSetting

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Precision:
    """All sessions of a pipeline share it. The speech encoder stays in float32: its features are cached so."""

    dit: torch.dtype
    """Of the transformer and what it reads: text, CLIP."""
    vae: torch.dtype
    """Of the auto-encoders."""

    @classmethod
    def of(cls, precision: torch.dtype | Precision) -> Precision:
        """A single number type for every network, or the given precision."""
        return precision if isinstance(precision, Precision) else cls(precision, precision)

    @classmethod
    def parse(cls, text: str) -> Precision:
        """The inverse of `str`: `bfloat16`, or `bfloat16/float32` for transformer and auto-encoder.

        Raises BadSetting.
        """
        names = text.split("/")
        if not 1 <= len(names) <= 2 or not set(names) <= set(_DTYPES):
            raise BadSetting(
                f"{text!r} is no precision; say auto, {', '.join(_DTYPES)}, or two of the latter for transformer and "
                "auto-encoder, like bfloat16/float32"
            )
        return cls(_DTYPES[names[0]], _DTYPES[names[-1]])

    @classmethod
    def asked(cls, text: str) -> Precision | None:
        """`parse` of what a user says; None for `auto`, which leaves the choice to the machine. Raises BadSetting."""
        return None if text == "auto" else cls.parse(text)

    def __str__(self) -> str:
        names = [str(dtype).removeprefix("torch.") for dtype in (self.dit, self.vae)]
        return names[0] if self.dit == self.vae else "/".join(names)
