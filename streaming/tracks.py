"""What leaves: one audio and one video track, fed slot by slot by the session's clock, read by its encoders.

A track does no timing of its own: what is put in leaves at once, and pts follow the slot's number, so that they and
the clock never drift apart. Knows media frames and packets; knows nothing of the engine or of peers.
"""

from __future__ import annotations

import asyncio
from fractions import Fraction
from typing import Any, Generic, TypeAlias, TypeVar

import av
import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from numpy.typing import NDArray

from avacast.streaming.clock import AUDIO_RATE_HZ

VIDEO_CLOCK_HZ = 90_000
MAX_VIDEO_WAITING = 2
MAX_AUDIO_WAITING = 10
"""Frames and packets (200 ms) that wait for the sender. Policy when full: the oldest is dropped and counted. The
sender takes them at once while it is alive, so only a peer that has gone, or is not there yet, loses anything."""


Item = TypeVar("Item")

# Generic to the type checker only: at run time av's class takes no arguments.
Packet: TypeAlias = "av.Packet[Any]"


class QueueTrack(MediaStreamTrack, Generic[Item]):
    """A bounded drop-oldest queue that ends when the track is stopped."""

    def __init__(self, max_waiting: int) -> None:
        super().__init__()
        self.num_dropped = 0
        self._items: asyncio.Queue[Item | None] = asyncio.Queue(max_waiting)

    def _put(self, item: Item) -> None:
        if self._items.full():
            self._items.get_nowait()
            self.num_dropped += 1
        self._items.put_nowait(item)

    @property
    def is_full(self) -> bool:
        return self._items.full()

    def drop_all(self) -> None:
        """Drops and counts what waits."""
        while not self._items.empty():
            self._items.get_nowait()
            self.num_dropped += 1

    async def _next(self) -> Item:
        if self.readyState != "live":
            raise MediaStreamError
        item = await self._items.get()
        if item is None:
            raise MediaStreamError
        return item

    def stop(self) -> None:
        if self.readyState == "live":
            super().stop()
            if self._items.full():
                self._items.get_nowait()
            self._items.put_nowait(None)


class PacketTrack(QueueTrack[Packet]):
    """Encoded packets, which the sender only cuts to the size of datagrams."""


class VideoTrack(QueueTrack[tuple[int, NDArray[np.uint8]]]):
    """Pictures, one per slot."""

    kind = "video"

    def __init__(self, fps: int) -> None:
        super().__init__(MAX_VIDEO_WAITING)
        self._ticks_per_slot = VIDEO_CLOCK_HZ // fps

    def put(self, slot: int, image: NDArray[np.uint8]) -> None:
        """Sends image uint8 [H, W, 3] as the picture of slot number `slot`."""
        self._put((slot, image))

    async def recv(self) -> av.VideoFrame:
        slot, image = await self._next()
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts = slot * self._ticks_per_slot
        frame.time_base = Fraction(1, VIDEO_CLOCK_HZ)
        return frame


class AudioTrack(QueueTrack[tuple[int, NDArray[np.float32]]]):
    """Sound, in packets of 20 ms."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__(MAX_AUDIO_WAITING)

    def put(self, pts: int, samples: NDArray[np.float32]) -> None:
        """Sends float32 [PACKET_SAMPLES], whose first sample is number `pts` of the stream."""
        self._put((pts, samples))

    async def recv(self) -> av.AudioFrame:
        pts, samples = await self._next()
        pcm = (np.clip(samples, -1, 1) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
        frame.sample_rate = AUDIO_RATE_HZ
        frame.pts = pts
        frame.time_base = Fraction(1, AUDIO_RATE_HZ)
        return frame
