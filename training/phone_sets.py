"""What speech synthesisers call their phonemes, and what those are in IPA.

Knows names; knows no synthesiser and no sound. Sounds that the mouth does not tell apart share a letter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from avacast.engine.voice import Phoneme

PhoneSet = Mapping[str, str]
"""From a name without stress and length to IPA; a name that is missing is a mouth at rest."""


def _phones(names: str, in_ipa: str) -> PhoneSet:
    return dict(zip(names.split(), in_ipa.split(), strict=True))


_OF_ONE_LETTER = "a b d e f g h i j k l m n o p r s t u v w z"
_IN_IPA = "a b d e f ɡ h i j k l m n o p r s t u v w z"

US_ENGLISH = _phones(
    "aa ae ah ao aw ax ay b ch d dh eh er ey f g hh ih iy jh k l m n ng ow oy p r s sh t th uh uw v w y z zh",
    "ɑ æ ʌ ɔ aʊ ə aɪ b tʃ d ð ɛ ɜ eɪ f ɡ h ɪ i dʒ k l m n ŋ oʊ ɔɪ p ɹ s ʃ t θ ʊ u v w j z ʒ",
)
"""CMU's names, and `ax`."""
CZECH = _phones(
    f"{_OF_ONE_LETTER} c c~ ch d~ dz dz~ n* n~ r~ s~ t~ x y z~",
    f"{_IN_IPA} ts tʃ x dj dz dʒ ŋ ɲ rʒ ʃ tj x i ʒ",
)
FINNISH = _phones(f"{_OF_ONE_LETTER} y @ 7 & N S T", f"{_IN_IPA} y æ ø ə ŋ ʃ θ")
ITALIAN = _phones(f"{_OF_ONE_LETTER} E O S Z dz dZ ts tS J L ng nf", f"{_IN_IPA} ɛ ɔ ʃ ʒ dz dʒ ts tʃ ɲ ʎ ŋ ɱ")
CATALAN = _phones(f"{_OF_ONE_LETTER} ax E O S Z J L rr", f"{_IN_IPA} ə ɛ ɔ ʃ ʒ ɲ ʎ r")


def phonemes_of(marks: Iterable[tuple[str, float]], phones: PhoneSet, start_s: float = 0.0) -> tuple[Phoneme, ...]:
    """The phonemes of a sentence that begins at `start_s`, of (name, end in seconds of that sentence)."""
    phonemes: list[Phoneme] = []
    begin_s = start_s
    for name, end_s in marks:
        phonemes.append(Phoneme(phones.get(name.rstrip("1:"), ""), begin_s, begin_s := start_s + end_s))
    return tuple(phonemes)


def marks_in(line: str) -> list[tuple[str, float]]:
    """The marks of a line of `name:end`, separated by blanks."""
    split = (mark.rpartition(":") for mark in line.split())
    return [(name, float(end_s)) for name, _, end_s in split]
