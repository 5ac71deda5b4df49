"""Pictures and sound encoded for the wire: VP8 or H.264, and Opus. Frames in, packets out, one for one.

H.264 is encoded by the graphics card where one offers it (NVENC), by x264 otherwise. Knows FFmpeg's encoders and their
settings; knows nothing of who receives the packets, and every call blocks.
"""

from __future__ import annotations

import functools
import logging
from fractions import Fraction

import av
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

from avacast.streaming.clock import AUDIO_RATE_HZ
from avacast.streaming.tracks import VIDEO_CLOCK_HZ, Packet
from avacast.streaming.webrtc_config import VideoCodec

log = logging.getLogger(__name__)

AUDIO_BITRATE_BPS = 64_000
MAX_KEYFRAME_INTERVAL = 3_000
"""Frames. Keyframes are made when somebody needs one: they are large, and a picture that pulses every second shows."""


class VideoEncoder:
    """One stream of pictures, whose first is a keyframe."""

    def __init__(self, codec: VideoCodec, width: int, height: int, fps: int, bitrate_bps: int) -> None:
        self.codec: VideoCodec = codec
        self.bitrate_bps = bitrate_bps
        self.name = "libvpx" if codec == "vp8" else h264_encoder()
        self._context = _open(self.name, width, height, fps, bitrate_bps)

    def fits(self, frame: av.VideoFrame) -> bool:
        """Whether the frame has the size of this stream."""
        return (frame.width, frame.height) == (self._context.width, self._context.height)

    def encode(self, frame: av.VideoFrame, *, keyframe: bool) -> Packet:
        """The frame in the stream's time base of 1/90000, as a keyframe if asked for."""
        assert self.fits(frame), f"a frame of {frame.width}x{frame.height} in a stream of another size"
        picture = frame.reformat(format="yuv420p")
        picture.pts, picture.time_base = frame.pts, frame.time_base
        picture.pict_type = PictureType.I if keyframe else PictureType.NONE
        packets = self._context.encode(picture)
        assert len(packets) == 1, f"{self.name} gave {len(packets)} packets for a frame; none may wait inside"
        return packets[0]


class AudioEncoder:
    """One stream of Opus, mono, in packets of 20 ms."""

    def __init__(self) -> None:
        context = av.CodecContext.create("libopus", "w")
        assert isinstance(context, av.AudioCodecContext)
        context.bit_rate = AUDIO_BITRATE_BPS
        context.format = "s16"
        context.layout = "mono"
        context.sample_rate = AUDIO_RATE_HZ
        context.time_base = Fraction(1, AUDIO_RATE_HZ)
        context.options = {"application": "voip"}
        self._context = context

    def encode(self, frame: av.AudioFrame) -> Packet:
        """The packet carries the frame's own time: Opus's start delay is nothing that a player should see."""
        (packet,) = self._context.encode(frame)
        packet.pts, packet.time_base = frame.pts, Fraction(1, AUDIO_RATE_HZ)
        return packet


@functools.cache
def h264_encoder() -> str:
    """`h264_nvenc` where it opens, else `libx264`."""
    try:
        _open("h264_nvenc", 256, 256, 25, 1_000_000)
    except (FFmpegError, ValueError) as error:
        log.info("H.264 is encoded by x264; NVENC does not open here: %s", error)
        return "libx264"
    return "h264_nvenc"


def _open(name: str, width: int, height: int, fps: int, bitrate_bps: int) -> VideoCodecContext:
    context = av.CodecContext.create(name, "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height = width, height
    context.pix_fmt = "yuv420p"
    context.bit_rate = bitrate_bps
    context.framerate = Fraction(fps)
    context.time_base = Fraction(1, VIDEO_CLOCK_HZ)
    context.gop_size = MAX_KEYFRAME_INTERVAL
    context.thread_count = 1
    context.options = {**_OPTIONS[name], "maxrate": str(bitrate_bps), "bufsize": str(bitrate_bps // 4)}
    if name == "libvpx":
        context.qmin, context.qmax = 2, 56
        # A least rate equal to the most is how FFmpeg asks for a constant one.
        context.options = {**context.options, "minrate": str(bitrate_bps), "bufsize": str(bitrate_bps)}
    context.open()
    return context


_OPTIONS: dict[str, dict[str, str]] = {
    "libvpx": {
        "deadline": "realtime",
        "cpu-used": "-6",
        "lag-in-frames": "0",
        "static-thresh": "1",
        "undershoot-pct": "100",
        "overshoot-pct": "15",
    },
    # superfast: 2.9 dB over ultrafast for a millisecond more at 512x512; what is slower buys little.
    "libx264": {"preset": "superfast", "tune": "zerolatency", "profile": "baseline", "forced-idr": "1"},
    "h264_nvenc": {
        "preset": "p4",
        "tune": "ull",
        "profile": "baseline",
        "rc": "cbr",
        "zerolatency": "1",
        "delay": "0",
        "bf": "0",
        "forced-idr": "1",
    },
}
