"""What a connected viewer may ask and send: defects of aiortc 1.16, guarded on named private seams.

* A loss report is answered without limit (`resend_budget`).
* A viewer who keeps changing the SSRC of what he sends makes closing hang for ever; a transport knows 8 at most.
* Received media waits without bound, in the decoder's queue and behind it, and closing waits for the decoder.

A test fails when a version of aiortc no longer has one of these seams.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import time
from collections.abc import Callable
from typing import Any, cast

from aiortc import MediaStreamTrack, RTCRtpReceiver, RTCRtpSender
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    AnyRtcpPacket,
    RtcpPsfbPacket,
    RtcpRtpfbPacket,
    RtpPacket,
    unpack_remb_fci,
)

from avacast.streaming.resend_budget import ResendBudget
from avacast.streaming.seam import read_seam, replace_seam

MAX_RECEIVED = 25
"""Received audio packets or frames that wait: half a second. Policy when full: the oldest is dropped."""

MAX_SSRCS = 8
"""Senders told apart on one transport. Policy when full: packets of another one are dropped."""


class DropOldestQueue(asyncio.Queue[Any]):
    """A bounded queue whose writer never waits."""

    async def put(self, item: Any) -> None:
        if self.full():
            self.get_nowait()
        self.put_nowait(item)


class DropOldestThreadQueue(queue.Queue[Any]):
    """The same between threads. None is the end: nothing that still waits is worth the wait for it."""

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:  # noqa: ARG002  # Queue's
        if item is None:
            with contextlib.suppress(queue.Empty):
                while True:
                    self.get_nowait()
        while True:
            try:
                return super().put(item, block=False)
            except queue.Full:
                with contextlib.suppress(queue.Empty):
                    self.get_nowait()


def guard_sender(
    sender: RTCRtpSender, on_keyframe_wanted: Callable[[], None], on_bandwidth: Callable[[int], None]
) -> None:
    """Bounds what the viewer's reports cost, and hands on his wish for a keyframe and his bandwidth in bit/s."""
    handle = read_seam(sender, "_handle_rtcp_packet")
    budget = ResendBudget()

    async def guarded(packet: AnyRtcpPacket) -> None:
        if isinstance(packet, RtcpRtpfbPacket) and packet.fmt == RTCP_RTPFB_NACK:
            packet.lost = budget.admit(packet.lost, time.monotonic())
        elif isinstance(packet, RtcpPsfbPacket) and packet.fmt in (RTCP_PSFB_FIR, RTCP_PSFB_PLI):
            on_keyframe_wanted()
        elif isinstance(packet, RtcpPsfbPacket) and packet.fmt == RTCP_PSFB_APP:
            with contextlib.suppress(ValueError):  # application feedback that is not an estimate of the bandwidth
                on_bandwidth(unpack_remb_fci(packet.fci)[0])
        await handle(packet)

    replace_seam(sender, "_handle_rtcp_packet", guarded)


def guard_receiver(receiver: RTCRtpReceiver) -> None:
    """Bounds what a receiver keeps. Call it when its transport is chosen and before its first packet."""
    replace_seam(receiver, "_RTCRtpReceiver__decoder_queue", DropOldestThreadQueue(MAX_RECEIVED))
    # None where nothing is received, whatever the stack's own types say.
    if track := cast("MediaStreamTrack | None", receiver.track):
        replace_seam(track, "_queue", DropOldestQueue(MAX_RECEIVED))
    router = read_seam(receiver.transport, "_rtp_router")
    known, route = read_seam(router, "ssrc_table"), read_seam(router, "route_rtp")

    def guarded(packet: RtpPacket) -> Any:
        return route(packet) if packet.ssrc in known or len(known) < MAX_SSRCS else None

    replace_seam(router, "route_rtp", guarded)


def abandon_decoder(receiver: RTCRtpReceiver) -> None:
    """Tells a decoder's thread to end, without waiting for it."""
    read_seam(receiver, "_RTCRtpReceiver__decoder_queue").put(None)
