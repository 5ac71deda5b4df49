"""Everyone who is connected to one session, where coming and going overlap."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection

from avacast.engine.errors import SessionClosed
from avacast.streaming.audience import Audience
from avacast.streaming.microphone import Microphone
from avacast.streaming.tracks import AudioTrack, VideoTrack
from avacast.streaming.webrtc_config import DEFAULT


async def offer() -> str:
    viewer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    for kind in ("audio", "video"):
        viewer.addTransceiver(kind, direction="recvonly")
    await viewer.setLocalDescription(await viewer.createOffer())
    sdp = viewer.localDescription.sdp
    await viewer.close()
    return sdp


@pytest.mark.parametrize("num_turns", [1, 2, 3, 5, 8])
def test_who_comes_while_the_session_ends_is_told_so(
    no_socket_left: Callable[[], AbstractAsyncContextManager[None]], num_turns: int
):
    """Wherever in his answer the end falls; and nobody is left there."""

    async def scenario() -> None:
        async with no_socket_left():
            sdp = await offer()
            audience = Audience(AudioTrack(), VideoTrack(25), Microphone(), DEFAULT, 25)
            joining = asyncio.create_task(audience.join("viewer", sdp, ""))
            for _ in range(num_turns):
                await asyncio.sleep(0)
            assert not joining.done()
            await audience.aclose()
            with pytest.raises(SessionClosed):
                await joining
            assert len(audience) == 0

    asyncio.run(scenario())
