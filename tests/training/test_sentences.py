"""training/sentences.py: what is said."""

from __future__ import annotations

import re

import numpy as np

from avacast.training.sentences import plain_sentence, sentence


def test_a_seed_says_one_thing() -> None:
    """Words are a matter of the generator alone."""
    for say in (sentence, plain_sentence):
        assert say(np.random.default_rng(5)) == say(np.random.default_rng(5)) != say(np.random.default_rng(6))


def test_validation_has_words_of_its_own() -> None:
    """No noun, verb or adjective of five letters and more is both learned and judged by; openers are shared."""
    learned, judged = (
        {
            word
            for seed in range(400)
            for word in re.findall(r"[a-z]{5,}", sentence(np.random.default_rng(seed), validation=validation).lower())
        }
        for validation in (False, True)
    )
    assert judged & learned <= {"morning", "before", "friends", "maybe", "course", "hello", "monday"}


def test_plain_sentences_are_read_alike_everywhere() -> None:
    """Letters that Czech, Finnish, Italian, Catalan and English all have, and no cluster that one of them lacks."""
    said = " ".join(plain_sentence(np.random.default_rng(seed)) for seed in range(50))
    assert set(said.lower()) <= set("abdefgiklmnoprstuv ,.")
    assert not re.search(r"[bdfgkpt]{2}", said)
    assert all(letter in said for letter in "pbm")
