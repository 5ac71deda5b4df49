"""Phoneme times to mouth tracks."""

from __future__ import annotations

import numpy as np
import pytest

from avacast.engine.voice import Phoneme, Voice
from avacast.training.mouth_shapes import TRACKS, base_symbols, mouth_tracks

JAW, SPREAD, PRESS = (TRACKS.index(name) for name in ("jaw", "spread", "press"))


def test_silence_rests_closed() -> None:
    """Without phonemes the jaw is shut and the lips neither pressed nor spread."""
    assert np.abs(mouth_tracks([], 50, 25.0)).max() < 1e-6


def test_bilabials_close_the_lips() -> None:
    """In the middle of every p, b and m the gap is closed, whatever stands around it."""
    speech = Voice().speak("My mother bought a purple baby boat, maybe.")
    tracks = mouth_tracks(speech.phonemes, round(speech.duration_s * 200), 200.0)
    middles = [int((p.start_s + p.end_s) * 100) for p in speech.phonemes if p.name in ("p", "b", "m")]
    assert len(middles) >= 6
    assert max(tracks[middle, JAW] for middle in middles) < 0.12


def test_rounded_vowels_are_narrower_than_spread_ones() -> None:
    """A long u is rounded, a long i is spread, and an a opens wide."""
    tracks = {name: mouth_tracks([Phoneme(name, 0.0, 1.0)], 25, 25.0)[12] for name in ("uː", "iː", "ɑː")}
    assert tracks["uː"][SPREAD] < -0.8
    assert tracks["iː"][SPREAD] > 0.8
    assert tracks["ɑː"][JAW] > 0.9


def test_tracks_stay_in_range() -> None:
    """Coarticulation averages; it never leaves the range of the targets."""
    speech = Voice(rate_wpm=300).speak("Five fluffy thrushes fetched the sixth sheep's poem.")
    tracks = mouth_tracks(speech.phonemes, round(speech.duration_s * 25), 25.0)
    assert tracks.min(initial=0.0, where=np.arange(5) != SPREAD) >= 0.0
    assert np.abs(tracks).max() <= 1.0


@pytest.mark.parametrize(("name", "symbols"), [("ˈɔː", ["ɔ"]), ("aɪ", ["a", "ɪ"]), ("tʃ", ["t", "ʃ"]), ("", [""])])
def test_marks_are_taken_off_names(name: str, symbols: list[str]) -> None:
    """Stress and length are not shapes; diphthongs and affricates are two."""
    assert base_symbols(name) == symbols
