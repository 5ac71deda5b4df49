"""How far each utterance has been heard: the samples that left, matched with the utterances they came from.

Sound is held between being taken from its source and being heard, for as long as its frame needs. This module counts
what leaves in the end, sample by sample, so that a position never says more than was heard. It knows numbers of
slices and samples; it knows nothing of clocks, events or networks.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable

from avacast.streaming.audio_source import Span
from avacast.streaming.clock import AUDIO_RATE_HZ
from avacast.streaming.utterance import Utterance


class Playback:
    """One session's account of utterances on their way."""

    def __init__(self) -> None:
        self._utterances: list[Utterance] = []
        self._slices: deque[tuple[int, tuple[Span, ...]]] = deque()

    @property
    def current(self) -> Utterance | None:
        """The earliest utterance that has not finished."""
        return next((utterance for utterance in self._utterances if not utterance.finished), None)

    def begin(self, utterance: Utterance) -> None:
        """Enters an utterance that will be heard after those entered before."""
        self._utterances = [earlier for earlier in self._utterances if not earlier.finished]
        self._utterances.append(utterance)

    def enter(self, number: int, spans: tuple[Span, ...]) -> None:
        """Notes from what utterances slice `number` was made; numbers rise. As long as the pacer's queue at most."""
        if spans:
            self._slices.append((number, spans))

    def leave(self, number: int, start: int, stop: int, pts: int) -> None:
        """Notes that the samples `start` to `stop` of slice `number` have left, as number `pts` of the stream.

        Slices before it that never left were skipped as silence: they count as heard.
        """
        while self._slices and self._slices[0][0] < number:
            self._hear(self._slices.popleft()[1], 0, sys.maxsize, pts)
        if self._slices and self._slices[0][0] == number:
            spans = self._slices[0][1]
            self._hear(spans, start, stop, pts)
            if spans[-1].stop <= stop:
                self._slices.popleft()

    def cut(self) -> list[Utterance]:
        """Everything that has not been heard will not be; returns the utterances that are cut by it."""
        self._slices.clear()
        cut = [utterance for utterance in self._utterances if not utterance.finished]
        for utterance in cut:
            utterance.cut()
        self._utterances.clear()
        return cut

    def _hear(self, spans: Iterable[Span], low: int, high: int, pts: int) -> None:
        for span in spans:
            first, last = max(low, span.start), min(high, span.stop)
            if first < last:
                span.utterance.hear(last - first, (pts + first - low) / AUDIO_RATE_HZ)
