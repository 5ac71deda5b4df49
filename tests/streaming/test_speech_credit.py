"""How far ahead a sender of speech may be."""

from __future__ import annotations

import pytest

from avacast.streaming.speech_credit import HIGH_WATER_MS, LOW_WATER_MS, MAX_WAITING_MS, SpeechCredit


@pytest.mark.parametrize("speed", [0.5, 1.0, 3.0, 10.0, 1000.0])
def test_a_sender_that_keeps_the_limit_stays_within_it_and_never_starves_the_avatar(speed: float):
    """Two minutes of speech at any speed, told of the limit 200 ms late: at most 10 s wait, and the avatar never runs
    dry for want of credit.
    """
    credit = SpeechCredit(0)
    limit_ms, buffered_ms, sent_ms, step_ms = credit.limit_ms, 0.0, 0.0, 20
    on_the_way: list[tuple[int, int]] = []
    dry_ms = num_told = 0
    for now_ms in range(0, 400_000, step_ms):
        while on_the_way and on_the_way[0][0] <= now_ms:
            limit_ms = on_the_way.pop(0)[1]
        wanted_ms = min(speed * step_ms, 120_000 - sent_ms)
        sending_ms = max(0.0, min(wanted_ms, limit_ms - sent_ms))
        assert credit.receive(sending_ms, buffered_ms)
        sent_ms += sending_ms
        buffered_ms += sending_ms
        assert buffered_ms <= HIGH_WATER_MS
        dry_ms += step_ms if sending_ms < wanted_ms and buffered_ms < step_ms else 0
        buffered_ms = max(0.0, buffered_ms - step_ms)
        if credit.raised(buffered_ms):
            num_told += 1
            on_the_way.append((now_ms + 200, credit.limit_ms))
    assert sent_ms == 120_000
    assert dry_ms == 0
    assert num_told <= 120_000 / (HIGH_WATER_MS - LOW_WATER_MS)


def test_what_waits_already_leaves_less():
    assert SpeechCredit(4_000).limit_ms == HIGH_WATER_MS - 4_000
    credit = SpeechCredit(60_000)
    assert credit.limit_ms == 0
    told = [credit.limit_ms for buffered_ms in range(60_000, 0, -20) if credit.raised(buffered_ms)]
    assert told[-1] >= LOW_WATER_MS


def test_far_beyond_the_limit_it_is_refused_and_not_counted():
    credit = SpeechCredit(0)
    assert credit.receive(MAX_WAITING_MS, 0)
    assert not credit.receive(1, MAX_WAITING_MS)
    assert credit.sent_ms == MAX_WAITING_MS
