"""How far ahead of what is heard a sender of speech may be.

The credit is a limit on what the sender has sent in all, as in HTTP/2 and QUIC: such a number stays true however much
is on its way. A sender that keeps it never has more than `HIGH_WATER_MS` on the way, so an interruption, which travels
behind the audio, waits for that much to be read at most: the receiver reads as fast as it comes, and drops it then.

Knows milliseconds; knows nothing of messages, samples or clocks.
"""

from __future__ import annotations

HIGH_WATER_MS = 10_000
"""The limit is set so that this much waits at most. A slow sender loses nothing by it, a fast one is 10 s ahead."""

LOW_WATER_MS = 5_000
"""The limit is raised again when this much is left of it: a message every 5 s of speech, and never a sender that waits
while the avatar runs dry, for 5 s are longer than any round trip."""

MAX_WAITING_MS = 30_000
"""Bound of what waits. Only a sender that does not keep the limit gets there. Policy: what comes is refused."""


class SpeechCredit:
    """The credit of one utterance. `limit_ms` is what its sender was told: milliseconds from the utterance's start."""

    def __init__(self, buffered_ms: float) -> None:
        """`buffered_ms` waits already, from utterances before."""
        self.sent_ms = 0.0
        self._limit_ms = HIGH_WATER_MS - buffered_ms

    @property
    def limit_ms(self) -> int:
        return max(0, int(self._limit_ms))

    def receive(self, duration_ms: float, buffered_ms: float) -> bool:
        """Whether this much more may come while `buffered_ms` waits; it is counted if so."""
        if buffered_ms + duration_ms > MAX_WAITING_MS:
            return False
        self.sent_ms += duration_ms
        return True

    def raised(self, buffered_ms: float) -> bool:
        """Raises the limit if it is time to; whether the sender has to be told."""
        limit_ms = self.sent_ms + HIGH_WATER_MS - buffered_ms
        if limit_ms - self._limit_ms < HIGH_WATER_MS - LOW_WATER_MS:
            return False
        self._limit_ms = limit_ms
        return True
