"""What counts as a word of a caption, in every script: a piece of text that is highlighted when it is heard.

Where words stand apart, a word is what stands between blanks. Chinese, Japanese, Thai, Lao, Khmer and Burmese write
without blanks; there each character counts as a word, with the marks, small letters and punctuation that belong to it.
Text only: no seconds, no dictionary.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_SPREAD = re.compile(
    "[\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\u1780-\u17ff"  # Burmese, Khmer
    "\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff"  # hiragana, katakana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Chinese characters
    "\uff66-\uff9f]"  # half-width katakana
)
"""Scripts that are written without blanks. Korean is not one of them."""

_WIDE = re.compile(
    "[\u3000-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff01-\uff9f\U00020000-\U0003ffff]"
)
"""Chinese and Japanese with their punctuation: a line may end beside any of them, and two of them have no blank between
them."""

_LEADING = "\u0e40\u0e41\u0e42\u0e43\u0e44\u0ec0\u0ec1\u0ec2\u0ec3\u0ec4\u17d2\u1039"
"""Vowels of Thai and Lao that are written before their consonant; signs of Khmer and Burmese that bind the next one."""

_TRAILING = "\u0e30\u0e32\u0e33\u0e45\u0eb0\u0eb2\u0eb3"
"""Vowels of Thai and Lao that are written after their consonant, as letters."""


def begins_word(before: str, char: str) -> bool:
    """Whether `char`, which follows the text `before` without a blank, begins another word."""
    if not before or not (_SPREAD.match(char) or _SPREAD.search(before)):
        return False
    return not (_opens(before[-1]) or _closes(char))


def split_words(text: str) -> Iterator[tuple[str, bool]]:
    """The words of `text`, and whether each follows the one before it without a blank."""
    for stretch in text.split():
        word, joined = "", False
        for char in stretch:
            if begins_word(word, char):
                yield word, joined
                word, joined = "", True
            word += char
        yield word, joined


def num_cells(text: str) -> int:
    """How wide `text` is shown, and about how long it is heard, in Latin letters: a Chinese character is two."""
    if text.isascii():
        return len(text)
    letters = (char for char in text if unicodedata.category(char) not in ("Mn", "Me"))
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in letters)


def are_joined(before: str, after: str) -> bool:
    """Whether two words that were told one by one, as if by blanks apart, are written without one."""
    return bool(_WIDE.match(before[-1:]) and _WIDE.match(after[:1]))


def may_break(before: str, after: str) -> bool:
    """Whether a line may end between two words that are written without a blank."""
    return bool(_WIDE.match(before[-1:]) or _WIDE.match(after[:1]))


def _opens(char: str) -> bool:
    return char in _LEADING or unicodedata.category(char) in ("Ps", "Pi")


def _closes(char: str) -> bool:
    """Marks, repetition and length signs, small kana, vowels and punctuation that belong to what is before them."""
    if char in _TRAILING or unicodedata.category(char) in ("Mn", "Mc", "Me", "Lm", "Pe", "Pf", "Po", "Pd"):
        return True
    return " LETTER SMALL " in unicodedata.name(char, "")
