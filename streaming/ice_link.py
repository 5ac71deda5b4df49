"""The ICE connection under a DTLS transport, which can be restarted: aiortc has no way to do so of its own.

A restart (RFC 8445, 9) is a second ICE connection with new credentials beside the first. Media goes on over the first
until the second is nominated, then it moves over; DTLS and its keys stay. Knows aiortc's and aioice's private seams
for that, and nothing of media or HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import aioice
from aiortc import RTCIceTransport
from aiortc.rtcconfiguration import RTCIceServer
from aiortc.rtcicetransport import connection_kwargs

from avacast.engine.errors import SessionClosed
from avacast.streaming.seam import read_seam, replace_seam

log = logging.getLogger(__name__)

MAX_RESTART_S = 15.0


@dataclass(frozen=True)
class IceCredentials:
    """One side of one ICE generation; candidates as `candidate:...`."""

    ufrag: str
    pwd: str
    candidates: tuple[str, ...] = ()


class IceLink:
    """Stands between a DTLS transport and whichever ICE connection is current."""

    def __init__(self, transport: RTCIceTransport, servers: Sequence[RTCIceServer]) -> None:
        self._transport = transport
        self._servers = list(servers)
        self._current: aioice.Connection = read_seam(transport, "_connection")
        self._other: aioice.Connection | None = None
        """The connection that is not current: the next one, or the one that was left, until it is closed."""
        self._moving: asyncio.Task[None] | None = None
        self._restarting = asyncio.Lock()
        self._closed = False
        replace_seam(transport, "_recv", self.recv)
        replace_seam(transport, "_send", self.send)

    async def recv(self) -> bytes:
        """The next datagram. Raises ConnectionError when the current connection is lost."""
        while True:
            connection = self._current
            try:
                return await connection.recv()
            except ConnectionError:
                if connection is self._current:
                    raise

    async def send(self, data: bytes) -> None:
        await self._current.send(data)

    async def add_candidates(self, candidates: Sequence[str]) -> None:
        """Tries more of the viewer's addresses. Raises ValueError when no more are taken."""
        for candidate in _parsed(candidates):
            await self._current.add_remote_candidate(candidate)

    async def restart(self, remote: IceCredentials) -> IceCredentials:
        """Begins a new generation and returns our side of it; one that was under way is given up.

        Raises SessionClosed when the link has been closed.
        """
        async with self._restarting:
            if self._closed:
                raise SessionClosed("the connection has ended; make another")
            await self._give_up()
            new = aioice.Connection(ice_controlling=False, **connection_kwargs(self._servers))
            try:
                await new.gather_candidates()
                new.remote_username, new.remote_password = remote.ufrag, remote.pwd
                for candidate in _parsed(remote.candidates):
                    await new.add_remote_candidate(candidate)
            except BaseException:
                await new.close()
                raise
            self._other = new
            self._moving = asyncio.create_task(self._move_to(new), name="ice-restart")
        lines = tuple(f"candidate:{candidate.to_sdp()}" for candidate in new.local_candidates)
        return IceCredentials(new.local_username, new.local_password, lines)

    async def aclose(self) -> None:
        """Gives up a restart that is under way. The current connection is its transport's to close."""
        async with self._restarting:
            self._closed = True
            await self._give_up()

    async def _give_up(self) -> None:
        if self._moving:
            self._moving.cancel()
            await asyncio.wait([self._moving])
        await self._close_other()

    async def _close_other(self) -> None:
        if self._other:
            await self._other.close()
        self._other = None

    async def _move_to(self, new: aioice.Connection) -> None:
        try:
            await asyncio.wait_for(new.connect(), MAX_RESTART_S)
        except (ConnectionError, TimeoutError) as error:
            log.info("an ICE restart came to nothing: %r", error)
        else:
            self._other, self._current = self._current, new
            replace_seam(self._transport, "_connection", new)
            # Who waits for the end of the connection waits for the new one's; the old one's is no end.
            replace_seam(new, "_event_waiter", read_seam(self._other, "_event_waiter"))
            replace_seam(self._other, "_event_waiter", None)
        await self._close_other()


def _parsed(candidates: Sequence[str]) -> Iterator[aioice.Candidate]:
    """What of `candidate:...` can be read; the viewer has others."""
    for candidate in candidates:
        with contextlib.suppress(ValueError):
            yield aioice.Candidate.from_sdp(candidate.removeprefix("candidate:"))
