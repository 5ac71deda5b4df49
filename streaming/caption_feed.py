"""The captions of one utterance, told as it is heard: the listener between an utterance and the session's events.

What is told follows the samples that left, so captions wait when speech waits and end when it is cut.
"""

from __future__ import annotations

from collections.abc import Callable

from avacast.streaming.captions import Caption, Captions
from avacast.streaming.session_events import Event
from avacast.streaming.utterance import Utterance


class CaptionFeed:
    """Tells each line once for every word that begins in it, and the end once."""

    def __init__(self, captions: Captions, tell: Callable[[Event], object]) -> None:
        self._captions = captions
        self._tell = tell
        self._told: Caption | None = None

    def on_started(self, utterance: Utterance, pts_s: float) -> None:
        """Its first word is told when it is heard, which may be later."""

    def on_heard(self, utterance: Utterance) -> None:
        caption = self._captions.at(utterance.position_s)
        if caption and caption != self._told:
            self._told = caption
            line = {"words": list(caption.words), "joined": list(caption.joined), "num_heard": caption.num_heard}
            self._tell({"type": "caption", "utterance": utterance.name, **line})

    def on_finished(self, utterance: Utterance, interrupted: bool) -> None:
        if self._told:
            self._told = None  # if it is resumed, the line is told again
            self._tell({"type": "caption_end", "utterance": utterance.name, "interrupted": interrupted})
