"""One WebRTC connection: answers the offer, sends sound and picture, hears the microphone, notices when it is gone.

Knows aiortc; what its defects oblige us to is in `ice_guard`, `rtp_guard`, `steady_clock` and `ice_link`. Knows nothing
of sessions, engines or HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

import av
import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpSender,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from numpy.typing import NDArray

from avacast.engine.errors import SessionClosed
from avacast.streaming import ice_guard, steady_clock
from avacast.streaming.broadcast import ViewerAudio, ViewerVideo
from avacast.streaming.candidates import admitted
from avacast.streaming.http_errors import RequestError
from avacast.streaming.ice_link import IceCredentials, IceLink
from avacast.streaming.offer import clean_offer, offered_candidates, offered_kinds, offered_ufrag
from avacast.streaming.rtp_guard import abandon_decoder, guard_receiver, guard_sender
from avacast.streaming.sdp_fragment import IceFragment
from avacast.streaming.seam import read_seam
from avacast.streaming.webrtc_config import WebRTCConfig

log = logging.getLogger(__name__)

MAX_CLOSE_S = 5.0

Hear = Callable[[NDArray[np.float32], int], None]


class Peer:
    """One connection. It sends `audio` and `video` where the offer takes them, and gives what it hears to `hear`.

    `hear` gets float32 [N] at 48 kHz and the number of its first sample; None: nothing is heard.
    """

    def __init__(
        self, config: WebRTCConfig, audio: ViewerAudio | None, video: ViewerVideo | None, hear: Hear | None
    ) -> None:
        ice_guard.install()
        steady_clock.install()
        self.was_connected = False
        self.ufrag = ""
        """The viewer's present ICE generation."""
        self._config = config
        self._hear = hear
        self._audio, self._video = audio, video
        self._servers = [RTCIceServer(server.url, server.username, server.credential) for server in config.ice_servers]
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=self._servers))
        self._link: IceLink | None = None
        self._num_candidates = 0
        self._heard: MediaStreamTrack | None = None
        self._listening: asyncio.Task[None] | None = None
        self._answering: asyncio.Task[str] | None = None
        self._closing = False
        self._last_received = 0
        self._last_received_s = time.monotonic()
        self._connection.on("track", self._on_track)
        self._connection.on("connectionstatechange", self._on_state)

    @property
    def connected(self) -> bool:
        return self._connection.connectionState == "connected"

    @property
    def gone(self) -> bool:
        """Whether the connection has failed or was closed by the other side."""
        return self._connection.connectionState in ("failed", "closed")

    async def answer(self, sdp: str, client_host: str = "") -> str:
        """Takes an offer and returns the answer's SDP. `client_host` is the address that the offer came from.

        Raises RequestError for an offer that cannot be answered, SessionClosed when the peer is closed meanwhile.
        """
        self._answering = asyncio.create_task(self._answer(sdp, client_host), name="answer")
        self._answering.add_done_callback(_retrieve)
        await asyncio.wait([self._answering])
        if self._closing:
            raise SessionClosed("the connection was ended before it was made; make another")
        return self._answering.result()

    async def _answer(self, sdp: str, client_host: str) -> str:
        offer = RTCSessionDescription(clean_offer(sdp), "offer")
        self.ufrag = offered_ufrag(sdp)
        self._add_tracks(offered_kinds(sdp))
        try:
            await self._connection.setRemoteDescription(offer)
            self._settle_directions()
            await self._connection.setLocalDescription(await self._connection.createAnswer())
            await self._link_up(offered_candidates(sdp), client_host)
        except RequestError:
            raise
        except Exception as error:  # the parser raises six unrelated kinds on mutated offers
            log.info("an offer was refused: %r", error)
            raise RequestError(HTTPStatus.BAD_REQUEST, "bad_sdp", "the offer cannot be answered") from error
        return self._connection.localDescription.sdp

    async def add_candidates(self, candidates: Sequence[str], client_host: str) -> None:
        """Takes more of the viewer's addresses; those that may not be tried are passed over (see `candidates`)."""
        assert self._link, "candidates follow an answer"
        if not self._servers:
            return
        good = admitted(candidates, client_host, self._num_candidates)
        self._num_candidates += len(good)
        with contextlib.suppress(ValueError):
            await self._link.add_candidates(good)

    async def restart_ice(self, fragment: IceFragment, client_host: str) -> tuple[IceCredentials, str, str]:
        """Moves to a new ICE generation: our side of it, and kind and mid of the media line that carries it."""
        assert self._link, "a restart follows an answer"
        candidates = admitted(fragment.candidates, client_host) if self._servers else []
        self._num_candidates = len(candidates)
        credentials = await self._link.restart(IceCredentials(fragment.ufrag, fragment.pwd, tuple(candidates)))
        self.ufrag = fragment.ufrag
        first = self._transceivers()[0]
        return credentials, first.kind, first.mid or "0"

    async def silence_s(self) -> float:
        """Seconds since the last packet of any kind came from the viewer; call it about once a second."""
        senders = self._connection.getSenders()
        if senders:
            report = await senders[0].getStats()
            num = sum(getattr(stats, "packetsReceived", 0) for stats in report.values() if stats.type == "transport")
            if num != self._last_received:
                self._last_received, self._last_received_s = num, time.monotonic()
        return time.monotonic() - self._last_received_s

    async def close(self) -> None:
        """Ends the connection; always returns within a few seconds."""
        self._closing = True
        if self._answering:
            # Cut short, it would leave sockets open that nobody knows of.
            await asyncio.wait([self._answering], timeout=MAX_CLOSE_S)
            self._answering.cancel()
        if self._listening:
            self._listening.cancel()
        if self._link:
            await self._link.aclose()
        try:
            await asyncio.wait_for(self._connection.close(), MAX_CLOSE_S)
        except Exception as error:  # noqa: BLE001  # a connection whose set-up was cut short raises anything here
            log.warning("a connection did not close in order: %r", error)
            await self._tear_down()
        for track in (self._audio, self._video):
            if track:
                track.stop()

    def _transceivers(self) -> list[RTCRtpTransceiver]:
        return self._connection.getTransceivers()

    def _add_tracks(self, kinds: Sequence[str]) -> None:
        """Adds what is asked for; a track that nobody offered to take would wait for its connection for ever."""
        if self._audio and "audio" in kinds:
            self._connection.addTrack(self._audio)
        if self._video and "video" in kinds:
            self._connection.addTrack(self._video)
        for transceiver in self._transceivers():
            transceiver.direction = "sendrecv" if transceiver.kind == "audio" and self._hear else "sendonly"
            # Only preferences set before the remote description count.
            if transceiver.kind == "video":
                codecs = RTCRtpSender.getCapabilities("video").codecs
                first = f"video/{self._config.codec}".lower()
                transceiver.setCodecPreferences(sorted(codecs, key=lambda codec: codec.mimeType.lower() != first))

    def _settle_directions(self) -> None:
        """Nobody's picture is received, and sound only where somebody hears it."""
        sent = [track for track in (self._audio, self._video) if track]
        for transceiver in self._transceivers():
            if transceiver.sender.track not in sent:
                hears = transceiver.kind == "audio" and self._hear
                transceiver.direction = "recvonly" if hears else "inactive"
            guard_receiver(transceiver.receiver)
            if transceiver.sender.track is self._video and self._video:
                codecs: list[Any] = read_seam(transceiver, "_codecs")
                self._video.codec = "h264" if codecs[0].mimeType.lower() == "video/h264" else "vp8"
                guard_sender(transceiver.sender, self._video.want_keyframe, self._video.note_bandwidth)
            else:
                guard_sender(transceiver.sender, _ignore, _ignore_bandwidth)

    async def _link_up(self, candidates: Sequence[str], client_host: str) -> None:
        transports = {transceiver.receiver.transport.transport for transceiver in self._transceivers()}
        if len(transports) != 1:
            raise RequestError(HTTPStatus.BAD_REQUEST, "bad_sdp", "an offer bundles its media (a=group:BUNDLE)")
        self._link = IceLink(transports.pop(), self._servers)
        await self.add_candidates(candidates, client_host)
        if self._heard and self._hear and self._listening is None:
            self._listening = asyncio.create_task(self._listen(self._heard, self._hear), name="microphone")

    async def _tear_down(self) -> None:
        """What is left of a connection that does not close: its sockets, and its decoders' threads."""
        for transceiver in self._transceivers():
            abandon_decoder(transceiver.receiver)
            with contextlib.suppress(Exception):
                await asyncio.wait_for(transceiver.receiver.transport.transport.stop(), MAX_CLOSE_S)

    def _on_state(self) -> None:
        self.was_connected = self.was_connected or self.connected

    def _on_track(self, track: MediaStreamTrack) -> None:
        if track.kind == "audio":
            self._heard = track

    async def _listen(self, track: MediaStreamTrack, hear: Hear) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                assert isinstance(frame, av.AudioFrame)
                assert frame.pts is not None, "the stack stamps what it receives"
                hear(_mono(frame), frame.pts)


def _retrieve(answering: asyncio.Task[str]) -> None:
    """When the peer is closed meanwhile, nobody else asks why the answer failed."""
    if not answering.cancelled():
        answering.exception()


def _ignore() -> None:
    """Sound has no keyframes."""


def _ignore_bandwidth(_bps: int) -> None:
    """Sound is not worth saving on."""


def _mono(frame: av.AudioFrame) -> NDArray[np.float32]:
    """float32 [N] in -1..1 of a packed int16 frame, which is what the Opus decoder gives."""
    pcm = frame.to_ndarray().reshape(-1, len(frame.layout.channels))
    return pcm.astype(np.float32).mean(axis=1) / 32768.0
