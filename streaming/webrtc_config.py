"""What the owner of a server decides about its WebRTC connections. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from avacast.streaming.ice_servers import IceServer

VideoCodec = Literal["vp8", "h264"]


@dataclass(frozen=True)
class WebRTCConfig:
    """`codec` is answered first to whoever can take both; `video_bitrate_bps` is the most that a picture may cost."""

    codec: VideoCodec = "vp8"
    video_bitrate_bps: int = 1_500_000
    ice_servers: tuple[IceServer, ...] = ()


DEFAULT = WebRTCConfig()
