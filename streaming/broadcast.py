"""One encode for all who watch: a session's tracks read once, encoded once, handed to every viewer as packets.

A stream is encoded only while somebody watches it, once for each codec that viewers take. A new viewer, or one who has
lost the picture, is served by a keyframe in the stream of all, two a second at most. The bit rate follows
`bitrate_policy`. Knows tracks and encoders; knows nothing of connections.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import av
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from avacast.streaming.bitrate_policy import BitratePolicy
from avacast.streaming.encoder import AudioEncoder, VideoEncoder
from avacast.streaming.tracks import MAX_AUDIO_WAITING, MAX_VIDEO_WAITING, Packet, PacketTrack
from avacast.streaming.webrtc_config import VideoCodec

MIN_KEYFRAME_INTERVAL_S = 0.5


class ViewerVideo(PacketTrack):
    """The pictures as one viewer gets them; nothing before the first keyframe, nor after a loss before the next one."""

    kind = "video"

    def __init__(self, broadcast: VideoBroadcast) -> None:
        super().__init__(MAX_VIDEO_WAITING)
        self.codec: VideoCodec = "vp8"
        """What was agreed with the viewer; set before the first `recv`."""
        self._broadcast = broadcast
        self._waits_for_keyframe = True

    async def recv(self) -> Packet:
        if self.readyState == "live":
            self._broadcast.join(self)
        return await self._next()

    def put(self, packet: Packet) -> None:
        """Hands on a packet of the stream; a full queue is emptied, for what follows a gap cannot be decoded."""
        if self.is_full:
            self.drop_all()
            self._waits_for_keyframe = True
            self._broadcast.want_keyframe(self)
        if packet.is_keyframe or not self._waits_for_keyframe:
            self._waits_for_keyframe = False
            self._put(packet)

    def want_keyframe(self) -> None:
        self._broadcast.want_keyframe(self)

    def note_bandwidth(self, bps: int) -> None:
        """What the viewer says that his line carries."""
        self._broadcast.note_bandwidth(self, bps)

    def stop(self) -> None:
        self._broadcast.leave(self)
        super().stop()


class VideoBroadcast:
    """All viewers' pictures of one session, until its track ends or the broadcast is closed."""

    def __init__(self, track: MediaStreamTrack, fps: int, max_bitrate_bps: int) -> None:
        self._track = track
        self._fps = fps
        self._max_bitrate_bps = max_bitrate_bps
        self._streams: dict[VideoCodec, _Stream] = {}
        self._task = asyncio.create_task(self._run(), name="video-broadcast")

    def viewer(self) -> ViewerVideo:
        return ViewerVideo(self)

    def join(self, viewer: ViewerVideo) -> None:
        """Begins to serve a viewer; a second time it does nothing."""
        stream = self._streams.setdefault(viewer.codec, _Stream(viewer.codec, self._fps, self._max_bitrate_bps))
        if viewer not in stream.viewers:
            stream.viewers.append(viewer)
            stream.keyframe_wanted = True

    def leave(self, viewer: ViewerVideo) -> None:
        stream = self._streams.get(viewer.codec)
        if stream and viewer in stream.viewers:
            stream.viewers.remove(viewer)
            stream.bitrate.forget(viewer)
            if not stream.viewers:
                del self._streams[viewer.codec]

    def want_keyframe(self, viewer: ViewerVideo) -> None:
        if stream := self._streams.get(viewer.codec):
            stream.keyframe_wanted = True

    def note_bandwidth(self, viewer: ViewerVideo, bps: int) -> None:
        stream = self._streams.get(viewer.codec)
        if stream and viewer in stream.viewers:
            stream.bitrate.note(viewer, bps)

    def stats(self) -> dict[str, Any]:
        """Viewers and the bit rate of each stream that is encoded."""
        return {
            codec: {"viewers": len(stream.viewers), "bitrate_bps": stream.bitrate.current_bps}
            for codec, stream in self._streams.items()
        }

    def check(self) -> None:
        """Raises what stopped the broadcast, if anything did."""
        _check(self._task)

    async def aclose(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        self._stop_viewers()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                frame = await self._track.recv()
                assert isinstance(frame, av.VideoFrame)
                for stream in list(self._streams.values()):
                    packet = await loop.run_in_executor(None, stream.encode, frame, time.monotonic())
                    for viewer in list(stream.viewers):
                        viewer.put(packet)
        except MediaStreamError:
            self._stop_viewers()

    def _stop_viewers(self) -> None:
        for stream in list(self._streams.values()):
            for viewer in list(stream.viewers):
                viewer.stop()


class _Stream:
    """One codec's stream and those who watch it. `encode` runs in a thread, one frame at a time."""

    def __init__(self, codec: VideoCodec, fps: int, max_bitrate_bps: int) -> None:
        self.viewers: list[ViewerVideo] = []
        self.keyframe_wanted = False
        self.bitrate = BitratePolicy(max_bitrate_bps)
        self._codec: VideoCodec = codec
        self._fps = fps
        self._encoder: VideoEncoder | None = None
        self._keyframe_s = float("-inf")

    def encode(self, frame: av.VideoFrame, now_s: float) -> Packet:
        rate = self.bitrate.decide(now_s)
        if self._encoder is None or self._encoder.bitrate_bps != rate or not self._encoder.fits(frame):
            self._encoder = VideoEncoder(self._codec, frame.width, frame.height, self._fps, rate)
        keyframe = self.keyframe_wanted and now_s - self._keyframe_s >= MIN_KEYFRAME_INTERVAL_S
        packet = self._encoder.encode(frame, keyframe=keyframe)
        if packet.is_keyframe:
            # Whoever asked is served by this one, also when it came for another reason.
            self.keyframe_wanted, self._keyframe_s = False, now_s
        return packet


class ViewerAudio(PacketTrack):
    """The sound as one viewer gets it, from his first `recv` on."""

    kind = "audio"

    def __init__(self, broadcast: AudioBroadcast) -> None:
        super().__init__(MAX_AUDIO_WAITING)
        self._broadcast = broadcast

    async def recv(self) -> Packet:
        if self.readyState == "live":
            self._broadcast.viewers.add(self)
        return await self._next()

    def put(self, packet: Packet) -> None:
        self._put(packet)

    def stop(self) -> None:
        self._broadcast.viewers.discard(self)
        super().stop()


class AudioBroadcast:
    """All viewers' sound of one session, until its track ends or the broadcast is closed."""

    def __init__(self, track: MediaStreamTrack) -> None:
        self.viewers: set[ViewerAudio] = set()
        self._track = track
        self._encoder = AudioEncoder()
        self._task = asyncio.create_task(self._run(), name="audio-broadcast")

    def viewer(self) -> ViewerAudio:
        return ViewerAudio(self)

    def check(self) -> None:
        """Raises what stopped the broadcast, if anything did."""
        _check(self._task)

    async def aclose(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        self._stop_viewers()

    async def _run(self) -> None:
        try:
            while True:
                frame = await self._track.recv()
                assert isinstance(frame, av.AudioFrame)
                if self.viewers:
                    # A quarter of a millisecond: handing it to a thread would cost as much.
                    packet = self._encoder.encode(frame)
                    for viewer in list(self.viewers):
                        viewer.put(packet)
        except MediaStreamError:
            self._stop_viewers()

    def _stop_viewers(self) -> None:
        for viewer in list(self.viewers):
            viewer.stop()


def _check(task: asyncio.Task[None]) -> None:
    if task.done() and not task.cancelled() and (error := task.exception()):
        raise error
