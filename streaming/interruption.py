"""What interruptions leave behind: which frames are stale, and what was cut and could be taken up again.

Knows epochs, numbers of slices and utterances; reads no clock and sends nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from avacast.streaming.utterance import Utterance

MAX_RESUME_S = 5.0
"""What was cut can be taken up again for so long: an interruption that was none is noticed at once or not at all."""

MAX_REMEMBERED = 16
"""Interruptions of which frames may still be on their way. Policy when full: the oldest is forgotten."""


class Interruption:
    """One session's account of them."""

    def __init__(self) -> None:
        self.epoch = 0
        self._numbers: deque[tuple[int, int]] = deque(maxlen=MAX_REMEMBERED)
        self._cut: Sequence[Utterance] = ()
        self._cut_s = 0.0

    def begin(self, number: int, cut: Sequence[Utterance], now_s: float) -> None:
        """Frames made until now are stale from slice `number` on; the utterances `cut` may be taken up again.

        One interruption after another, with nothing said between them, leaves what the first one cut.
        """
        self.epoch += 1
        self._numbers.append((self.epoch, number))
        if cut:
            self._cut, self._cut_s = cut, now_s

    def is_stale(self, epoch: int, number: int) -> bool:
        """Whether the frame of slice `number`, made in `epoch`, shows what was unsaid since."""
        return any(later > epoch and number >= first for later, first in self._numbers)

    def rest(self, now_s: float) -> list[Utterance]:
        """What was cut last, ready to be said from there on; nothing when that was too long ago. Answers once."""
        rest = [utterance.resumed() for utterance in self._cut] if now_s - self._cut_s <= MAX_RESUME_S else []
        self.forget()
        return rest

    def forget(self) -> None:
        """Lets go of what was cut: it is too late to take it up again."""
        self._cut = ()
