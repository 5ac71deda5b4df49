"""Two ends of a pipe."""

from __future__ import annotations

import gc
import os
import queue
import threading
from multiprocessing import Pipe

import pytest

from avacast.streaming.channel import Channel


def pair(**settings: int) -> tuple[Channel, queue.Queue[object], Channel, queue.Queue[object], threading.Event]:
    left_pipe, right_pipe = Pipe(duplex=True)
    left_inbox: queue.Queue[object] = queue.Queue()
    right_inbox: queue.Queue[object] = queue.Queue()
    right_closed = threading.Event()
    left = Channel(left_pipe, left_inbox.put, lambda: None, **settings)
    right = Channel(right_pipe, right_inbox.put, right_closed.set, **settings)
    return left, left_inbox, right, right_inbox, right_closed


def test_messages_arrive_in_order_both_ways():
    left, left_inbox, right, right_inbox, _ = pair()
    left.start()
    right.start()
    for number in range(100):
        assert left.post(number)
    assert right.post("answer")
    assert [right_inbox.get(timeout=5) for _ in range(100)] == list(range(100))
    assert left_inbox.get(timeout=5) == "answer"
    left.close()
    right.close()


def test_closing_one_end_is_noticed_at_the_other():
    left, _, right, _, right_closed = pair()
    left.start()
    right.start()
    left.close()
    assert right_closed.wait(5)
    right.close()


def test_nothing_is_left_of_an_end_whose_other_side_has_gone():
    """Neither of its threads, nor its descriptor: a worker that dies is not the last one."""
    before = set(threading.enumerate())
    pipe, other = Pipe(duplex=True)
    channel = Channel(pipe, lambda _: None, lambda: None)
    channel.start()
    threads = set(threading.enumerate()) - before
    assert len(threads) == 2
    other.close()
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive(), thread.name
    descriptor = pipe.fileno()
    del channel, pipe
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_full_queue_refuses_and_never_waits():
    """The other side does not read: posting goes on returning at once, with False."""
    left, _, right, _, _ = pair(max_waiting=4)
    left.start()
    posted = [left.post(bytes(1_000_000)) for _ in range(20)]
    assert posted[0]
    assert not posted[-1]
    left.close()
    right.close()
