"""The microphone's buffer, with packets that say which sample they begin with."""

from __future__ import annotations

import numpy as np
import pytest

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
    fill(microphone, 0, 4)
    assert np.count_nonzero(microphone.pull(5 * PACKET)) == 4 * PACKET
    fill(microphone, 5 * PACKET, 3)
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


@pytest.mark.parametrize("ppm", [200, -200])
def test_a_clock_that_drifts_neither_grows_the_delay_nor_tears_the_sound(ppm: int):
    """Ten minutes of a tone by a clock that is so much faster than ours: 120 ms too much or too little in all.

    What comes out is still that tone: of any three samples, the middle one tells the sum of the others to -70 dB.
    """
    microphone, number = Microphone(), 0
    tone = np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000).astype(np.float32)
    echo = 2 * np.cos(2 * np.pi * 440 / 48_000)
    heard, left = np.zeros(0, np.float32), [0]
    for slice_ in range(15_000):
        while number * 0.02 / (1 + ppm * 1e-6) <= slice_ * 0.04 + 0.007:
            first = number * PACKET % 48_000
            microphone.push(tone[first : first + PACKET], number * PACKET)
            number += 1
        taken = microphone.pull(1920)
        if taken is not None:
            heard = np.concatenate([heard[-2:], taken])
            assert np.abs(heard[2:] + heard[:-2] - echo * heard[1:-1]).max() < 3e-4
            left.append(microphone.buffered_samples)
    assert microphone.num_dropped == 0
    assert len(left) >= 14_998
    assert max(left) <= 60 * 48
    assert 20 * 48 <= left[-1] <= 40 * 48


def test_a_stall_of_the_network_is_worked_off_within_a_minute():
    """For 160 ms nothing comes, then all of it at once: the delay is longer by that, and nothing is dropped for it."""
    microphone, number = Microphone(), 0
    for slice_ in range(1_600):
        while number < 2 * slice_ + 4 and slice_ not in range(100, 104):
            microphone.push(np.full(PACKET, 0.5, np.float32), number * PACKET)
            number += 1
        microphone.pull(1920)
        if slice_ == 104:
            assert microphone.buffered_samples > 120 * 48
    assert microphone.num_dropped == 0
    assert microphone.buffered_samples <= 36 * 48
