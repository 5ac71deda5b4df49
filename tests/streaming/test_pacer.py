"""Slots in virtual time: a simulated engine makes frames some slots after their audio."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avacast.streaming.pacer import Pacer, Slot

SAMPLES = 4
STILL = np.full((1, 1, 3), 255, np.uint8)


def audio(number: int, loud: bool = True) -> np.ndarray:
    """A slice that says its number."""
    return np.full(SAMPLES, (number + 1) / 1e4 if loud else 0.0, np.float32)


def image(number: int) -> np.ndarray:
    return np.array([[[number // 65_536, number // 256 % 256, number % 256]]], np.uint8)


def shown(slot: Slot) -> int:
    high, middle, low = slot.image[0, 0].tolist()
    return high * 65_536 + middle * 256 + low


def heard(slot: Slot) -> int | None:
    return round(float(slot.audio[0]) * 1e4) - 1 if slot.audio.any() else None


def play(pacer: Pacer, num_slots: int, arrival: Callable[[int], int | None], loud: bool = True) -> list[Slot]:
    """Runs slots 0.. with one slice entering in each; frame k is there in slot `arrival(k)` if those before it are,
    None is never.
    """
    waiting: dict[int, int] = {}
    for k in range(num_slots):
        if (slot := arrival(k)) is not None:
            waiting[k] = max([slot, *waiting.values()])
    slots: list[Slot] = []
    for now in range(num_slots):
        number = pacer.push_audio(audio(now, loud))
        assert number == now
        for k in sorted(k for k, slot in waiting.items() if slot <= now and k <= now):
            pacer.push_frame(k, image(k))
            del waiting[k]
        slots.append(pacer.next_slot())
    return slots


def windows_of(size: int, compute: int) -> Callable[[int], int]:
    """An engine that makes `size` frames at once, `compute` slots after the last one's audio."""
    return lambda k: (k // size + 1) * size + compute


def test_before_anything_enters_the_still_picture_waits():
    slot = Pacer(SAMPLES, STILL).next_slot()
    assert slot.kind == "wait"
    assert not slot.audio.any()
    assert np.array_equal(slot.image, STILL)


def test_audio_and_frame_leave_together_at_the_delay_that_the_engine_needs():
    """Stalls come only at the start; after them every slice leaves with its own frame."""
    pacer = Pacer(SAMPLES, STILL)
    slots = play(pacer, 200, windows_of(8, 6))
    assert [slot.kind for slot in slots] == ["stall"] * 14 + ["live"] * 186
    assert all(shown(slot) == heard(slot) == i for i, slot in enumerate(slots[14:]))
    assert pacer.delay == 14


def test_no_slice_is_lost_or_heard_twice_when_the_engine_stumbles():
    """A hiccup of 20 slots makes one pause; the audio is heard whole and in order, in step with the picture."""

    def arrival(k: int) -> int:
        return max(windows_of(8, 2)(k), 70 if k >= 48 else 0)

    slots = play(Pacer(SAMPLES, STILL), 200, arrival)
    numbers = [heard(slot) for slot in slots if heard(slot) is not None]
    assert numbers == list(range(len(numbers)))
    assert all(shown(slot) == heard(slot) for slot in slots if slot.kind == "live")
    assert {slot.kind for slot in slots[80:]} == {"live"}


def test_at_the_bound_audio_goes_on_without_the_picture():
    """The engine dies after ten frames: audio never stops for longer than the bound, the last picture stays."""
    slots = play(Pacer(SAMPLES, STILL, max_delay=20), 100, lambda k: k + 2 if k < 10 else None)
    after = slots[40:]
    assert {slot.kind for slot in after} == {"repeat"}
    assert {shown(slot) for slot in after} == {9}
    numbers = [heard(slot) for slot in slots if heard(slot) is not None]
    assert numbers == list(range(len(numbers)))


def test_skew_recovers_after_an_overload():
    """Frames are late for a while beyond the bound; once the engine has caught up, lips and sound match again."""

    def arrival(k: int) -> int:
        return k + 40 if 50 <= k < 100 else k + 3

    slots = play(Pacer(SAMPLES, STILL, max_delay=20), 300, arrival)
    assert any(slot.kind in ("late", "repeat") for slot in slots)
    assert all(shown(slot) == heard(slot) for slot in slots[200:])
    numbers = [heard(slot) for slot in slots if heard(slot) is not None]
    assert numbers == list(range(len(numbers)))


def test_frames_that_the_engine_skipped_do_not_stall():
    """Where the engine left slices out, a later frame is waiting: audio goes on over a repeated picture."""
    slots = play(Pacer(SAMPLES, STILL), 60, lambda k: None if 20 <= k < 25 else k + 6)
    numbers = [heard(slot) for slot in slots if heard(slot) is not None]
    assert numbers == list(range(len(numbers)))
    gap = [slot for slot in slots if heard(slot) in range(20, 25)]
    assert [shown(slot) for slot in gap] == [19] * 5


def test_the_delay_shrinks_in_silence():
    """After a hiccup of the engine made the delay long, silent slices are skipped until little more than needed is
    left.
    """
    pacer = Pacer(SAMPLES, STILL, spare=2)
    play(pacer, 600, lambda k: k + 30 if k == 10 else k + 3, loud=False)
    assert 5 <= pacer.delay <= 7
    assert pacer.counts.skipped > 20


def test_the_delay_never_shrinks_in_speech():
    pacer = Pacer(SAMPLES, STILL)
    play(pacer, 600, lambda k: k + 30 if k == 10 else k + 3, loud=True)
    assert pacer.counts.skipped == 0
    assert pacer.delay == 30


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 60), min_size=120, max_size=120), st.integers(5, 30))
def test_whatever_the_engine_does_audio_is_whole_and_delay_bounded(lags: list[int], max_delay: int):
    """For any arrival of frames: slices are heard in order, none missing; the delay keeps its bound."""
    times = np.maximum.accumulate([k + lag for k, lag in enumerate(lags)])
    pacer = Pacer(SAMPLES, STILL, max_delay=max_delay)
    slots = play(pacer, 120, lambda k: int(times[k]))
    numbers = [heard(slot) for slot in slots if heard(slot) is not None]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= 120 - max_delay - 1
    assert pacer.delay <= max_delay
    assert pacer.num_frames_ready <= max_delay + 1
    assert all(shown(slot) == heard(slot) for slot in slots if slot.kind == "live")


def test_frames_out_of_order_are_a_broken_contract():
    pacer = Pacer(SAMPLES, STILL)
    pacer.push_frame(3, image(3))
    with pytest.raises(AssertionError, match="frame 3 came after 3"):
        pacer.push_frame(3, image(3))


def test_a_hush_silences_what_waits_after_a_fade_and_keeps_its_frames():
    """Slices 0 to 4 wait; the first is faded over three samples, the others are silent, slice 5 is heard again."""
    pacer = Pacer(SAMPLES, STILL)
    for number in range(5):
        pacer.push_audio(audio(number))
    pacer.hush(np.array([0.75, 0.5, 0.25], np.float32))
    for number in range(6):
        pacer.push_frame(number, image(number))
    pacer.push_audio(audio(5))
    slots = [pacer.next_slot() for _ in range(6)]
    assert np.allclose(slots[0].audio, audio(0) * [0.75, 0.5, 0.25, 0.0])
    assert [heard(slot) for slot in slots[1:]] == [None, None, None, None, 5]
    assert [shown(slot) for slot in slots] == [0, 1, 2, 3, 4, 5]


def test_a_hush_without_a_fade_is_silence_at_once():
    pacer = Pacer(SAMPLES, STILL)
    pacer.hush(np.zeros(0, np.float32))
    pacer.push_audio(audio(0))
    pacer.hush(np.zeros(0, np.float32))
    pacer.push_frame(0, image(0))
    assert heard(pacer.next_slot()) is None


def test_frames_that_are_taken_back_are_not_shown_and_others_take_their_place():
    """After an interruption: what was shown stands, what waits from there on is made anew, nothing jumps back."""
    pacer = Pacer(SAMPLES, STILL)
    for number in range(6):
        pacer.push_audio(audio(number))
        pacer.push_frame(number, image(number))
    assert [shown(pacer.next_slot()) for _ in range(2)] == [0, 1]
    pacer.take_back(3)
    assert pacer.num_frames_ready == 1
    for number in range(1, 6):  # the engine begins at the end of a window, before what was shown
        pacer.take_back(number)
        pacer.push_frame(number, image(10 + number))
    assert [shown(pacer.next_slot()) for _ in range(4)] == [12, 13, 14, 15]


def test_what_was_hushed_does_not_wait_for_its_frames():
    """The picture stands while silence goes on, and the delay is the same after an interruption as before."""
    pacer = Pacer(SAMPLES, STILL)
    for number in range(4):
        pacer.push_audio(audio(number))
        pacer.push_frame(number, image(number))
    assert shown(pacer.next_slot()) == 0
    pacer.hush(np.zeros(0, np.float32))
    pacer.take_back(2)
    slots = [pacer.next_slot() for _ in range(3)]
    assert [slot.kind for slot in slots] == ["live", "repeat", "repeat"]
    assert [shown(slot) for slot in slots] == [1, 1, 1]
    pacer.push_audio(audio(4))
    assert pacer.next_slot().kind == "stall"
