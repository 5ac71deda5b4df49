"""training/phone_sets.py: names of phonemes, and what they are in IPA."""

from __future__ import annotations

import pytest

from avacast.training.mouth_shapes import SHAPES, base_symbols, mouth_tracks
from avacast.training.phone_sets import CATALAN, CZECH, FINNISH, ITALIAN, US_ENGLISH, PhoneSet, marks_in, phonemes_of


def test_an_unknown_name_is_a_mouth_at_rest() -> None:
    """Some voices mark breaths and the like."""
    assert [p.name for p in phonemes_of([("brth", 0.1), ("m", 0.2)], US_ENGLISH)] == ["", "m"]


def test_stress_and_length_are_no_part_of_a_name() -> None:
    """Italian marks its stressed vowels with a digit, Finnish its long ones with a colon."""
    assert [p.name for p in phonemes_of([("O1", 0.1)], ITALIAN)] == ["ɔ"]
    assert [p.name for p in phonemes_of(marks_in("a::0.135 p:0.255"), FINNISH)] == ["a", "p"]


def test_a_sentence_begins_where_it_is_put() -> None:
    """Its marks count from its own beginning."""
    (phoneme,) = phonemes_of(marks_in("m:0.25"), CZECH, start_s=2.0)
    assert (phoneme.start_s, phoneme.end_s) == (2.0, 2.25)


@pytest.mark.parametrize("phones", [US_ENGLISH, CZECH, FINNISH, ITALIAN, CATALAN])
def test_every_phoneme_has_a_mouth(phones: PhoneSet) -> None:
    """No name is mapped to a letter that the drawn mouth has no shape of its own for."""
    assert {symbol for name in phones.values() for symbol in base_symbols(name)} <= set(SHAPES)
    for name in ("p", "b", "m"):
        closed = mouth_tracks(phonemes_of([(name, 0.2)], phones), num_frames=5, fps=25.0)
        assert closed[2, 2] > 0.8, name
