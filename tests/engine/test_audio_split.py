"""Which audio tokens a latent frame hears."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from avacast.engine.audio_split import stream_split, window_ranges, window_split


def test_ranges_are_the_released_ones(audio_split_golden: Path):
    """Every token range of the released split comes out the same."""
    cases = json.loads(audio_split_golden.read_text())
    for case, ranges in cases.items():
        num_tokens, num_frames = map(int, case.split(","))
        assert window_ranges(num_tokens, num_frames) == [tuple(pair) for pair in ranges], case


def test_window_split_widens_the_ranges_and_pads_on_the_right(audio_split_golden: Path):
    """Real tokens are the range's, margin included, in order and inside the window; padding follows them."""
    cases = json.loads(audio_split_golden.read_text())
    for case, ranges in cases.items():
        num_tokens, num_frames = map(int, case.split(","))
        index, mask = window_split(num_tokens, num_frames, margin=4)
        assert index.shape == mask.shape == (len(ranges), ranges[0][1] - ranges[0][0] + 9)
        for (first, last), row, real in zip(ranges, index, mask, strict=True):
            heard = [token for token in range(first - 4, last + 5) if 0 <= token < num_tokens]
            assert row.tolist() == heard + [0] * (len(row) - len(heard)), case
            assert real.tolist() == [True] * len(heard) + [False] * (len(row) - len(heard)), case


def test_a_single_latent_frame_can_be_split():
    """A window of one video frame hears the tokens at its beginning."""
    index, mask = window_split(num_tokens=2, num_frames=1, margin=0)
    assert index.shape[0] == 1
    assert index[mask].tolist() == [0, 1]


def test_stream_split_gives_each_latent_frame_its_own_time():
    """Latent frame f covers the video frames 4f-3 to 4f: 160 ms, of which the last ends at video frame 4f+1."""
    positions = stream_split(first_latent=3, num_latents=2, margin=0)
    assert positions.tolist() == [list(range(18, 26)), list(range(26, 34))]
    assert positions.dtype == torch.int64


def test_stream_split_does_not_depend_on_the_window():
    """The same latent frame hears the same tokens in whatever window it is; the first reaches before the beginning."""
    whole = stream_split(0, 10, margin=4)
    assert whole.shape == (10, 16)
    assert whole[0].tolist() == list(range(-10, 6))
    assert torch.equal(stream_split(4, 3, margin=4), whole[4:7])
