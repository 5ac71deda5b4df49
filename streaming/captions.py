"""What an utterance says, as lines of words to be shown while it is heard. Texts and seconds only, no clock.

A speech service that tells no times of words gives captions too: its words are assumed to be spoken evenly. So are the
parts of a word that a service told as one, in scripts without blanks (`caption_words`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from avacast.streaming.caption_words import are_joined, may_break, num_cells, split_words
from avacast.streaming.tts import Word

CHAR_S = 0.065
"""Speech is about this long for each Latin letter, in English at an ordinary pace."""

MAX_LINE_CELLS = 56
"""Width of a line of captions (`num_cells`); longer ones are read more slowly than they are heard. A single longer word
has its own line."""

MIN_PHRASE_CELLS = 30
"""A line that is longer than this ends where a part of a sentence does."""

MAX_WORDS = 4_096
"""Words of one utterance that are kept: half an hour of English, a quarter of Chinese. Policy when full: the first half
goes; it was heard."""

ENDS_OF_PHRASE = (",", ";", "–", "—", "，", "、")
ENDS_OF_SENTENCE = (".", "!", "?", "…", ":", "。", "！", "？")  # the last three as Chinese writes them


@dataclass(frozen=True)
class Caption:
    """One line, and how many of its words have begun to be heard."""

    words: tuple[str, ...]
    num_heard: int
    joined: tuple[int, ...] = ()
    """Which of them follow the one before without a blank."""


class Captions:
    """The captions of `text`. Times are estimated until those of the service come."""

    def __init__(self, text: str) -> None:
        self._estimated = True
        self._words: list[Word] = []
        end_s = 0.0
        for word, joined in split_words(text):
            start_s = end_s - CHAR_S if joined else end_s  # what is joined has no blank before it
            end_s = start_s + CHAR_S * (num_cells(word) + 1)
            self._words.append(Word(word, start_s, end_s, joined))
        self._lines = list(_lines(self._words, 0))

    def add(self, words: Iterable[Word]) -> None:
        """Takes the next words and their times, as the service tells them, in order."""
        told = list(words)
        if not told:
            return
        if self._estimated:
            self._words.clear()
            self._lines.clear()
            self._estimated = False
        for word in told:
            self._words += parts_of(word, self._words[-1].text if self._words else "")
        if len(self._words) > MAX_WORDS:
            del self._words[: -MAX_WORDS // 2]
            self._lines.clear()
        # More words change the last line only.
        first = self._lines.pop()[0] if self._lines else 0
        self._lines += _lines(self._words, first)

    def stretch(self, duration_s: float) -> None:
        """Spreads estimated times over `duration_s`, which is how long the utterance turned out to be."""
        if self._estimated and self._words:
            factor = duration_s / self._words[-1].end_s
            self._words = [
                replace(word, start_s=word.start_s * factor, end_s=word.end_s * factor) for word in self._words
            ]

    def at(self, position_s: float) -> Caption | None:
        """What is shown when so much of the utterance has been heard; None before its first word."""
        index = bisect_right(self._words, position_s, key=lambda word: word.start_s) - 1
        if index < 0:
            return None
        start, stop = self._lines[bisect_right(self._lines, index, key=lambda line: line[1])]
        line = self._words[start:stop]
        joined = tuple(number for number, word in enumerate(line) if number and word.joined)
        return Caption(tuple(word.text for word in line), index + 1 - start, joined)


def parts_of(word: Word, before: str) -> Iterator[Word]:
    """A word as a service told it, in as many as it has; `before` is the text of the one before it."""
    parts = list(split_words(word.text))
    cell_s = (word.end_s - word.start_s) / max(1, sum(num_cells(text) for text, _ in parts))
    end_s = word.start_s
    for number, (text, joined) in enumerate(parts):
        start_s, end_s = end_s, end_s + cell_s * num_cells(text)
        yield Word(text, start_s, end_s, joined if number else word.joined or are_joined(before, word.text))


def _lines(words: list[Word], start: int) -> Iterator[tuple[int, int]]:
    """Ranges of words that make a line: up to the end of a sentence or a long part of one, or as many as fit.

    The first line begins at `start`.
    """
    index, line_width = start, 0
    while index < len(words):
        word = words[index]
        width = num_cells(word.text) + (index > start and not word.joined)
        if index > start and line_width + width > MAX_LINE_CELLS:
            stop = _last_break(words, start, index)
            yield start, stop
            start = index = stop
            line_width = 0
            continue
        line_width += width
        index += 1
        if word.text.endswith(ENDS_OF_SENTENCE) or (
            line_width >= MIN_PHRASE_CELLS and word.text.endswith(ENDS_OF_PHRASE)
        ):
            yield start, index
            start, line_width = index, 0
    if start < len(words):
        yield start, len(words)


def _last_break(words: list[Word], start: int, stop: int) -> int:
    """Where a line that begins at `start` ends at or before `stop`: at a blank, or where the script breaks anywhere."""
    for index in range(stop, start, -1):
        if not words[index].joined or may_break(words[index - 1].text, words[index].text):
            return index
    return stop
