"""Frames as the sender gets them."""

from __future__ import annotations

import asyncio
from fractions import Fraction

import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError

from avacast.streaming.tracks import MAX_AUDIO_WAITING, AudioTrack, VideoTrack


def test_pts_follow_the_slot_so_that_they_never_leave_the_clock():
    """Slot 25 is one second, whatever was sent before it."""

    async def scenario() -> None:
        track = VideoTrack(fps=25)
        track.put(25, np.full((64, 48, 3), 200, np.uint8))
        frame = await track.recv()
        assert frame.pts * frame.time_base == Fraction(1)
        assert (frame.width, frame.height) == (48, 64)

    asyncio.run(scenario())


def test_sound_is_clipped_not_wrapped():
    async def scenario() -> None:
        track = AudioTrack()
        track.put(960, np.linspace(-2, 2, 960, dtype=np.float32))
        frame = await track.recv()
        assert frame.pts * frame.time_base == Fraction(1, 50)
        pcm = frame.to_ndarray()[0]
        assert (pcm[0], pcm[-1]) == (-32767, 32767)
        assert (np.diff(pcm.astype(int)) >= 0).all()

    asyncio.run(scenario())


def test_without_a_reader_the_oldest_is_dropped_and_counted():
    async def scenario() -> None:
        track = AudioTrack()
        for number in range(MAX_AUDIO_WAITING + 3):
            track.put(number * 960, np.zeros(960, np.float32))
        assert track.num_dropped == 3
        assert (await track.recv()).pts == 3 * 960

    asyncio.run(scenario())


def test_stopping_wakes_the_reader():
    async def scenario() -> None:
        track = VideoTrack(fps=25)
        reading = asyncio.create_task(track.recv())
        await asyncio.sleep(0)
        track.stop()
        with pytest.raises(MediaStreamError):
            await asyncio.wait_for(reading, 1)
        with pytest.raises(MediaStreamError):
            await track.recv()

    asyncio.run(scenario())
