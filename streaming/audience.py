"""Everyone who is connected to one session: who watches, who feeds it sound, and whose sound is heard.

Guests come and go; one who has vanished, or never arrived, is sent away, and the session goes on for the others. The
pictures are encoded once for all (`broadcast`). Knows peers and a session's tracks; knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from avacast.engine.errors import SessionClosed, Unavailable
from avacast.streaming.broadcast import AudioBroadcast, VideoBroadcast
from avacast.streaming.http_errors import RequestError
from avacast.streaming.microphone import Microphone
from avacast.streaming.peer import Hear, Peer
from avacast.streaming.tracks import AudioTrack, VideoTrack
from avacast.streaming.webrtc_config import WebRTCConfig

MAX_GUESTS = 16
MAX_SETUP_S = 15.0
MAX_VANISHED_S = 10.0

Role = Literal["partner", "viewer", "feeder"]
"""A `partner` watches and is heard (our own page), a `viewer` only watches (WHEP), a `feeder` is only heard (WHIP)."""


@dataclass
class Guest:
    """One connection, from its offer on."""

    name: str
    role: Role
    peer: Peer
    joined_s: float = field(default_factory=time.monotonic)
    generation: int = 0
    """Counts ICE restarts."""

    @property
    def etag(self) -> str:
        """The entity tag of this ICE generation (RFC 9725, 4.3.1)."""
        return f'"{self.generation}"'


class Audience:
    """The guests of one session.

    Args:
        audio, video: the session's tracks, which nobody else reads.
        microphone: what guests who are heard speak into. The latest feeder is heard, else the latest partner.
    """

    def __init__(
        self, audio: AudioTrack, video: VideoTrack, microphone: Microphone, config: WebRTCConfig, fps: int
    ) -> None:
        self.joined_s = time.monotonic()
        """When somebody last came; at first, when the audience was made."""
        self.left_s: float | None = None
        """When the last of all left; None while somebody is here, or nobody came yet."""
        self.left_in_order = False
        """Whether that one said goodbye; he, or another, may come back soon then."""
        self._microphone = microphone
        self._config = config
        self._audio = AudioBroadcast(audio)
        self._video = VideoBroadcast(video, fps, config.video_bitrate_bps)
        self._guests: dict[str, Guest] = {}
        self._had_guests = False
        self._closing: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._guests)

    @property
    def connected(self) -> bool:
        """Whether anybody is."""
        return any(guest.peer.connected for guest in self._guests.values())

    @property
    def was_connected(self) -> bool:
        """Whether anybody is or ever was."""
        return self._had_guests or any(guest.peer.was_connected for guest in self._guests.values())

    def stats(self) -> dict[str, dict[str, int]]:
        """What is encoded, for how many."""
        return self._video.stats()

    async def join(self, role: Role, sdp: str, client_host: str) -> tuple[Guest, str]:
        """A new guest and the answer to his offer.

        Raises RequestError for a bad offer, Unavailable for one too many, SessionClosed when the session ends
        meanwhile.
        """
        if len(self._guests) >= MAX_GUESTS:
            raise Unavailable(f"at most {MAX_GUESTS} take part in one session")
        name = secrets.token_urlsafe(16)
        audio, video = (None, None) if role == "feeder" else (self._audio.viewer(), self._video.viewer())
        guest = Guest(name, role, Peer(self._config, audio, video, self._ear(name) if role != "viewer" else None))
        self._guests[name] = guest
        try:
            answer = await guest.peer.answer(sdp, client_host)
        except BaseException:
            if name in self._guests:
                self._dismiss(guest)
            raise
        if name not in self._guests:
            raise SessionClosed("the connection was ended before it was made; make another")
        self.joined_s, self.left_s = time.monotonic(), None
        return guest, answer

    def get(self, name: str) -> Guest:
        """Raises RequestError (404) for one who is not, or no longer, here."""
        if name not in self._guests:
            raise RequestError(HTTPStatus.NOT_FOUND, "not_found", "there is no such connection; it may have ended")
        return self._guests[name]

    def leave(self, name: str) -> None:
        """Lets a guest go at once; his connection is taken down behind it. Raises RequestError (404)."""
        self._dismiss(self.get(name))
        self.left_in_order = True

    async def check(self) -> None:
        """Sends away who has vanished or never arrived; call it about once a second.

        Raises what stopped an encoder, if anything did.
        """
        self._audio.check()
        self._video.check()
        now = time.monotonic()
        for guest in list(self._guests.values()):
            silent = guest.peer.was_connected and await guest.peer.silence_s() > MAX_VANISHED_S
            late = not guest.peer.was_connected and now - guest.joined_s > MAX_SETUP_S
            if guest.name in self._guests and (guest.peer.gone or silent or late):
                self._dismiss(guest)
                self.left_in_order = False

    async def aclose(self) -> None:
        for guest in list(self._guests.values()):
            self._dismiss(guest)
        if self._closing:
            await asyncio.wait(self._closing)
        await self._audio.aclose()
        await self._video.aclose()

    def _dismiss(self, guest: Guest) -> None:
        del self._guests[guest.name]
        self._had_guests = self._had_guests or guest.peer.was_connected
        if not self._guests:
            self.left_s = time.monotonic()
        task = asyncio.create_task(guest.peer.close(), name=f"close-{guest.name}")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _ear(self, name: str) -> Hear:
        def hear(samples: NDArray[np.float32], pts: int) -> None:
            if name == self._heard():
                self._microphone.push(samples, pts)

        return hear

    def _heard(self) -> str | None:
        """Whose sound is heard: a feeder before a partner, the later of two."""
        for role in ("feeder", "partner"):
            names = [guest.name for guest in self._guests.values() if guest.role == role]
            if names:
                return names[-1]
        return None
