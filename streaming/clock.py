"""The media clock: absolute deadlines of slots on a monotonic clock.

A slot is the time of one video frame and its slice of audio. Deadlines are computed from the start, never from the
last wake-up, so that being late once does not shift what follows. This module knows numbers only: no event loop, no
sleeping, and the time is always handed in.
"""

from __future__ import annotations

from dataclasses import dataclass

AUDIO_RATE_HZ = 48_000
"""Rate of all audio that is heard (Opus's)."""

PACKET_SAMPLES = 960
"""Samples of one audio packet: 20 ms."""


@dataclass
class MediaClock:
    """Deadlines of one session. `start_s` is the monotonic time of slot 0, `fps` slots pass in a second."""

    start_s: float
    fps: int = 25

    def __post_init__(self) -> None:
        assert self.samples_per_slot % PACKET_SAMPLES == 0, f"{self.fps} fps does not hold whole audio packets"

    @property
    def samples_per_slot(self) -> int:
        """Audio samples heard during one slot."""
        return AUDIO_RATE_HZ // self.fps

    @property
    def packets_per_slot(self) -> int:
        return self.samples_per_slot // PACKET_SAMPLES

    def deadline_s(self, packet: int) -> float:
        """When audio packet `packet` leaves; a slot's picture leaves with the slot's first packet."""
        return self.start_s + packet * PACKET_SAMPLES / AUDIO_RATE_HZ

    def lateness_s(self, packet: int, now_s: float) -> float:
        """How long ago the packet was due; negative when it is still to come."""
        return now_s - self.deadline_s(packet)

    def resume(self, packet: int, now_s: float) -> None:
        """Makes `packet` due now: after the machine slept, hours of missed deadlines are not made up for."""
        self.start_s = now_s - packet * PACKET_SAMPLES / AUDIO_RATE_HZ
