"""One WebRTC connection: answers the offer, sends both tracks, feeds the microphone, notices when the viewer is gone.

Knows aiortc, including the private names that its known defects oblige us to touch, each with its reason; knows
nothing of sessions, engines or HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import time
from http import HTTPStatus
from typing import Any

import av
import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.codecs import vpx
from aiortc.mediastreams import MediaStreamError

from avacast.streaming.http_errors import RequestError
from avacast.streaming.microphone import Microphone
from avacast.streaming.offer import clean_offer

log = logging.getLogger(__name__)

VIDEO_BITRATE_BPS = 1_500_000
MIN_VIDEO_BITRATE_BPS = 400_000
MAX_VIDEO_BITRATE_BPS = 2_500_000

MAX_RECEIVED = 25
"""Received audio packets or frames that wait: half a second. Policy when full: the oldest is dropped."""

MAX_CLOSE_S = 5.0


def set_video_bitrate() -> None:
    """Sets the VP8 encoder's bit rates. aiortc has them as constants of its module and takes no argument."""
    vpx.DEFAULT_BITRATE = VIDEO_BITRATE_BPS
    vpx.MIN_BITRATE = MIN_VIDEO_BITRATE_BPS
    vpx.MAX_BITRATE = MAX_VIDEO_BITRATE_BPS


class DropOldestQueue(asyncio.Queue[Any]):
    """A bounded queue whose writer never waits."""

    async def put(self, item: Any) -> None:
        if self.full():
            self.get_nowait()
        self.put_nowait(item)


class DropOldestThreadQueue(queue.Queue[Any]):
    """The same between threads."""

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:  # noqa: ARG002  # Queue's
        while True:
            try:
                return super().put(item, block=False)
            except queue.Full:
                with contextlib.suppress(queue.Empty):
                    self.get_nowait()


class Peer:
    """One viewer's connection."""

    def __init__(self, audio: MediaStreamTrack, video: MediaStreamTrack, microphone: Microphone) -> None:
        self._microphone = microphone
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._senders: list[RTCRtpSender] = [self._connection.addTrack(audio), self._connection.addTrack(video)]
        self._listening: asyncio.Task[None] | None = None
        self._last_received = 0
        self._last_received_s = time.monotonic()
        self._connection.on("track", self._on_track)
        # Only preferences set before the remote description count; VP8 is the cheapest of good quality on a CPU.
        for transceiver in self._connection.getTransceivers():
            if transceiver.kind == "video":
                codecs = RTCRtpSender.getCapabilities("video").codecs
                transceiver.setCodecPreferences(sorted(codecs, key=lambda codec: codec.mimeType != "video/VP8"))

    @property
    def connected(self) -> bool:
        return self._connection.connectionState == "connected"

    @property
    def gone(self) -> bool:
        """Whether the connection has failed or was closed by the other side."""
        return self._connection.connectionState in ("failed", "closed")

    async def answer(self, sdp: str) -> str:
        """Takes an offer and returns the answer's SDP. Raises RequestError for an offer that cannot be answered."""
        offer = RTCSessionDescription(clean_offer(sdp), "offer")
        try:
            await self._connection.setRemoteDescription(offer)
            await self._connection.setLocalDescription(await self._connection.createAnswer())
        except Exception as error:  # the parser raises six unrelated kinds on mutated offers
            log.info("an offer was refused: %r", error)
            raise RequestError(HTTPStatus.BAD_REQUEST, "bad_sdp", "the offer cannot be answered") from error
        return self._connection.localDescription.sdp

    async def silence_s(self) -> float:
        """Seconds since the last packet of any kind came from the viewer; call it about once a second."""
        report = await self._senders[0].getStats()
        received = sum(getattr(stats, "packetsReceived", 0) for stats in report.values() if stats.type == "transport")
        if received != self._last_received:
            self._last_received, self._last_received_s = received, time.monotonic()
        return time.monotonic() - self._last_received_s

    async def close(self) -> None:
        """Ends the connection; always returns within a few seconds."""
        if self._listening:
            self._listening.cancel()
        try:
            await asyncio.wait_for(self._connection.close(), MAX_CLOSE_S)
        except Exception as error:  # noqa: BLE001  # a connection whose set-up was cut short raises anything here
            log.warning("a connection did not close in order: %r", error)

    def _on_track(self, track: MediaStreamTrack) -> None:
        # Received media waits in queues without bound, in the decoder and behind it; both are replaced before the
        # first packet, which comes after this event.
        track._queue = DropOldestQueue(MAX_RECEIVED)  # type: ignore[attr-defined]  # noqa: SLF001
        for receiver in self._connection.getReceivers():
            if receiver.track is track:
                _bound_decoder(receiver)
        if track.kind == "audio" and self._listening is None:
            self._listening = asyncio.create_task(self._listen(track), name="microphone")

    async def _listen(self, track: MediaStreamTrack) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                assert isinstance(frame, av.AudioFrame)
                assert frame.pts is not None, "the stack stamps what it receives"
                self._microphone.push(_mono(frame), frame.pts)


def _bound_decoder(receiver: RTCRtpReceiver) -> None:
    name = "_RTCRtpReceiver__decoder_queue"
    assert hasattr(receiver, name), "this version of aiortc names its decoder queue differently"
    setattr(receiver, name, DropOldestThreadQueue(MAX_RECEIVED))


def _mono(frame: av.AudioFrame) -> np.ndarray[Any, np.dtype[np.float32]]:
    """float32 [N] in -1..1 of a packed int16 frame, which is what the Opus decoder gives."""
    pcm = frame.to_ndarray().reshape(-1, len(frame.layout.channels))
    return pcm.astype(np.float32).mean(axis=1) / 32768.0
