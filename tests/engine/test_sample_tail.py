from __future__ import annotations

import numpy as np
import pytest

from avacast.engine.sample_tail import SampleTail


def test_reads_by_absolute_position_whatever_the_pieces_and_zeros_beyond_the_end():
    tail = SampleTail()
    for piece in ([0, 1, 2], [], [3], [4, 5]):
        tail.push(np.array(piece, np.float32))
    assert tail.read(1, 5).tolist() == [1, 2, 3, 4]
    assert tail.read(4, 8).tolist() == [4, 5, 0, 0]
    assert tail.read(7, 9).tolist() == [0, 0]


def test_forgets_what_lies_before_a_position_and_keeps_counting():
    tail = SampleTail()
    tail.push(np.arange(6, dtype=np.float32))
    tail.forget(4)
    tail.push(np.array([6], np.float32))
    assert tail.num_samples == 7
    assert tail.read(4, 7).tolist() == [4, 5, 6]
    assert sum(len(piece) for piece in tail.pieces) == 3
    with pytest.raises(AssertionError, match="before 4 are forgotten"):
        tail.read(3, 5)


def test_does_not_change_with_the_array_that_was_pushed_or_with_a_copy():
    tail, piece = SampleTail(), np.ones(3, np.float32)
    tail.push(piece)
    piece[:] = 9
    tail.copy().push(piece)
    assert tail.num_samples == 3
    assert tail.read(0, 3).tolist() == [1, 1, 1]


def test_forgetting_little_by_little_copies_little_and_lets_go_of_memory():
    """A sound pushed at once: at most twice what is kept stays in memory, and each sample is copied about once."""
    tail = SampleTail()
    tail.push(np.arange(4096, dtype=np.float32))
    num_copied = 0
    for before in range(1, 4096):
        piece = tail.pieces[0]
        tail.forget(before)
        rest = tail.pieces[0]
        if not np.shares_memory(rest, piece):
            num_copied += len(rest)
        owner = rest if rest.base is None else rest.base
        assert isinstance(owner, np.ndarray)
        assert owner.nbytes <= 2 * rest.nbytes
        assert tail.read(before, before + 1) == before
    assert num_copied <= 4096


def test_what_was_read_may_be_written_to():
    tail = SampleTail()
    tail.push(np.ones(4, np.float32))
    tail.read(0, 4)[:] = 9
    assert tail.read(0, 4).tolist() == [1, 1, 1, 1]


def test_what_was_pushed_can_be_taken_back():
    """From a position on; what is pushed next stands there instead, also where the tail was forgotten before."""
    tail = SampleTail()
    tail.push(np.arange(10, dtype=np.float32))
    tail.push(np.arange(10, 20, dtype=np.float32))
    tail.forget(4)
    tail.truncate(12)
    tail.push(np.full(3, 7, np.float32))
    assert tail.num_samples == 15
    assert tail.read(10, 16).tolist() == [10, 11, 7, 7, 7, 0]
    with pytest.raises(AssertionError):
        tail.truncate(3)
