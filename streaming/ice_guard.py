"""Datagrams at the door of the ICE stack: two defects of aioice 0.13, guarded.

* It hands every datagram that is not STUN to DTLS, wherever it came from, so that one packet from anywhere ends a
  connection that is being set up. Here only an address that has proved, by a signed STUN message, to know this
  connection's password gets through (OWASP ASVS 5.0, 17.2.6).
* Malformed STUN raises in the socket's callback, a traceback for every packet. Here it is counted, and told once a
  second at most.

The guard takes the place of aioice's class of sockets; a test fails when a version of aioice no longer has that seam.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import aioice.ice
from aioice import stun
from aioice.ice import CandidatePair, StunProtocol

log = logging.getLogger(__name__)

LOG_INTERVAL_S = 1.0


class DoorLog:
    """Counts what was refused; a line a second at most, for all sockets together."""

    def __init__(self) -> None:
        self._num_unreported = 0
        self._reported_s = float("-inf")

    def note(self, reason: str) -> None:
        self._num_unreported += 1
        now = time.monotonic()
        if now - self._reported_s >= LOG_INTERVAL_S:
            log.warning("refused %d datagrams, the last one %s", self._num_unreported, reason)
            self._num_unreported, self._reported_s = 0, now


class GuardedProtocol(StunProtocol):
    """aioice's socket with a door."""

    door = DoorLog()

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        assert isinstance(data, bytes)
        try:
            # A stranger may speak STUN only; the parse is repeated below, but only until he is known.
            if data and (self._is_known((addr[0], addr[1])) or stun.parse_message(data)):
                super().datagram_received(data, addr)
        except Exception as error:  # noqa: BLE001  # whatever the parser raises, a stranger's packet is no news
            self.door.note(f"{error!r:.80}")

    def _is_known(self, address: tuple[str, int]) -> bool:
        """Whether a signed STUN message has come from there: a check of theirs, or the answer to one of ours.

        A pair whose remote side is peer reflexive was made by their check; another one succeeds by their answer.
        """
        pairs: list[CandidatePair] = [*self.receiver._check_list, *self.receiver._nominated.values()]  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        return any(
            pair.remote_addr == address
            and pair.protocol is self
            and (pair.state is CandidatePair.State.SUCCEEDED or pair.remote_candidate.type == "prflx")
            for pair in pairs
        )


def install() -> None:
    """Makes every ICE connection opened from now on use guarded sockets. A second time it does nothing."""
    assert hasattr(aioice.ice, "StunProtocol"), "this version of aioice names its sockets differently"
    aioice.ice.StunProtocol = GuardedProtocol
