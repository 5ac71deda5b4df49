"""Restarts of an ICE connection, where they go wrong. How one goes well is in `test_signalling`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from aiortc import RTCIceGatherer, RTCIceTransport

from avacast.streaming.ice_link import IceCredentials, IceLink

NoSocketLeft = Callable[[], AbstractAsyncContextManager[None]]

BAD = "candidate:1 x udp 1 198.51.100.9 50000 typ host"
"""Its component is no number."""


def restart_tasks() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if task.get_name() == "ice-restart"]


def remote(number: int, *candidates: str) -> IceCredentials:
    return IceCredentials(f"user{number}", "p" * 22, candidates)


def test_a_candidate_that_is_none_is_passed_over(no_socket_left: NoSocketLeft):
    """As those that come one by one are."""

    async def scenario() -> None:
        async with no_socket_left():
            transport = RTCIceTransport(RTCIceGatherer(iceServers=[]))
            link = IceLink(transport, [])
            assert (await link.restart(remote(1, BAD))).candidates
            await link.aclose()
            await transport.stop()

    asyncio.run(scenario())


def test_of_restarts_that_come_together_one_goes_on_and_nothing_is_left_in_the_end(no_socket_left: NoSocketLeft):
    async def scenario() -> None:
        async with no_socket_left():
            transport = RTCIceTransport(RTCIceGatherer(iceServers=[]))
            link = IceLink(transport, [])
            await asyncio.gather(*(link.restart(remote(number)) for number in range(8)))
            restarts = restart_tasks()
            await asyncio.sleep(0.1)
            assert len([task for task in restarts if not task.done()]) == 1
            await link.aclose()
            await transport.stop()
        assert restart_tasks() == []

    asyncio.run(scenario())


@pytest.mark.parametrize("num_turns", [1, 3, 6])
def test_a_restart_that_is_under_way_when_the_link_closes_leaves_nothing(no_socket_left: NoSocketLeft, num_turns: int):
    async def scenario() -> None:
        async with no_socket_left():
            transport = RTCIceTransport(RTCIceGatherer(iceServers=[]))
            link = IceLink(transport, [])
            restarting = asyncio.create_task(link.restart(remote(1)))
            for _ in range(num_turns):
                await asyncio.sleep(0)
            await link.aclose()
            await transport.stop()
            await asyncio.gather(restarting, return_exceptions=True)
        assert restart_tasks() == []

    asyncio.run(scenario())
