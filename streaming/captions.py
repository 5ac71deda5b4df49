"""What an utterance says, as lines of words to be shown while it is heard. Texts and seconds only, no clock.

A speech service that tells no times of words gives captions too: its words are assumed to be spoken evenly.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from avacast.streaming.tts import Word

CHAR_S = 0.065
"""Speech is about this long for each character, in English at an ordinary pace."""

MAX_LINE_CHARS = 56
"""A line of captions; longer ones are read more slowly than they are heard. A single longer word has its own line."""

MIN_PHRASE_CHARS = 30
"""A line that is longer than this ends where a part of a sentence does."""

MAX_WORDS = 4_096
"""Words of one utterance that are kept: half an hour of speech. Policy when full: the first half goes; it was heard."""

ENDS_OF_PHRASE = (",", ";", "–", "—", "，")
ENDS_OF_SENTENCE = (".", "!", "?", "…", ":", "。", "！", "？")  # the last three as Chinese writes them


@dataclass(frozen=True)
class Caption:
    """One line, and how many of its words have begun to be heard."""

    words: tuple[str, ...]
    num_heard: int


class Captions:
    """The captions of `text`. Times are estimated until those of the service come."""

    def __init__(self, text: str) -> None:
        self._estimated = True
        self._words: list[Word] = []
        end_s = 0.0
        for word in text.split():
            start_s, end_s = end_s, end_s + CHAR_S * (len(word) + 1)
            self._words.append(Word(word, start_s, end_s))
        self._lines = list(_lines(self._words))

    def add(self, words: Iterable[Word]) -> None:
        """Takes the next words and their times, as the service tells them, in order."""
        told = list(words)
        if not told:
            return
        if self._estimated:
            self._words.clear()
            self._estimated = False
        self._words += told
        if len(self._words) > MAX_WORDS:
            del self._words[: -MAX_WORDS // 2]
        self._lines = list(_lines(self._words))

    def stretch(self, duration_s: float) -> None:
        """Spreads estimated times over `duration_s`, which is how long the utterance turned out to be."""
        if self._estimated and self._words:
            factor = duration_s / self._words[-1].end_s
            self._words = [Word(word.text, word.start_s * factor, word.end_s * factor) for word in self._words]

    def at(self, position_s: float) -> Caption | None:
        """What is shown when so much of the utterance has been heard; None before its first word."""
        index = bisect_right(self._words, position_s, key=lambda word: word.start_s) - 1
        if index < 0:
            return None
        start, stop = self._lines[bisect_right(self._lines, index, key=lambda line: line[1])]
        return Caption(tuple(word.text for word in self._words[start:stop]), index + 1 - start)


def _lines(words: list[Word]) -> Iterator[tuple[int, int]]:
    """Ranges of words that make a line: up to the end of a sentence or a long part of one, or as many as fit."""
    start, num_chars = 0, 0
    for index, word in enumerate(words):
        if index > start and num_chars + len(word.text) > MAX_LINE_CHARS:
            yield start, index
            start, num_chars = index, 0
        num_chars += len(word.text) + 1
        if word.text.endswith(ENDS_OF_SENTENCE) or (
            num_chars > MIN_PHRASE_CHARS and word.text.endswith(ENDS_OF_PHRASE)
        ):
            yield start, index + 1
            start, num_chars = index + 1, 0
    if start < len(words):
        yield start, len(words)
