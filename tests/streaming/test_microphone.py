"""The microphone's buffer, with packets that say which sample they begin with."""

from __future__ import annotations

import numpy as np

from avacast.streaming.microphone import MAX_SAMPLES, PREFILL_SAMPLES, Microphone

PACKET = 960


def ramp(first: int, num: int = PACKET) -> np.ndarray:
    return np.arange(first + 1, first + num + 1, dtype=np.float32)


def fill(microphone: Microphone, first: int, num_packets: int) -> None:
    for i in range(num_packets):
        microphone.push(ramp(first + i * PACKET), first + i * PACKET)


def test_nothing_is_heard_until_jitter_is_covered():
    microphone = Microphone()
    fill(microphone, 0, PREFILL_SAMPLES // PACKET - 1)
    assert microphone.pull(1920) is None
    fill(microphone, PREFILL_SAMPLES - PACKET, 1)
    first = microphone.pull(1920)
    assert first is not None
    assert np.array_equal(first, ramp(0, 1920))


def test_a_lost_packet_becomes_silence_of_the_same_length():
    microphone = Microphone()
    fill(microphone, 0, 2)
    fill(microphone, 3 * PACKET, 2)
    taken = microphone.pull(5 * PACKET)
    assert taken is not None
    expected = ramp(0, 5 * PACKET)
    expected[2 * PACKET : 3 * PACKET] = 0
    assert np.array_equal(taken, expected)


def test_silence_already_played_is_not_inserted_again():
    """The buffer runs dry during a gap; when sound returns, the stream is not longer than time itself."""
    microphone = Microphone()
    fill(microphone, 0, 3)
    assert np.count_nonzero(microphone.pull(4 * PACKET)) == 3 * PACKET
    fill(microphone, 4 * PACKET, 3)
    assert microphone.buffered_samples == 3 * PACKET


def test_a_burst_keeps_the_newest():
    """The bound holds, the oldest is dropped, and the loss is counted."""
    microphone = Microphone()
    fill(microphone, 0, 20)
    assert microphone.buffered_samples == MAX_SAMPLES
    assert microphone.num_dropped == 20 * PACKET - MAX_SAMPLES
    taken = microphone.pull(1)
    assert taken is not None
    assert taken[0] == 20 * PACKET - MAX_SAMPLES + 1


def test_what_comes_twice_is_heard_once():
    microphone = Microphone()
    fill(microphone, 0, 4)
    microphone.push(ramp(PACKET), PACKET)
    assert microphone.buffered_samples == 4 * PACKET


def test_a_new_start_of_the_timestamps_is_not_a_gap():
    microphone = Microphone()
    fill(microphone, 0, 3)
    fill(microphone, 10_000_000, 1)
    fill(microphone, 0, 1)
    assert microphone.buffered_samples == 5 * PACKET
