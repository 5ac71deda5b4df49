"""Sampled appearance: repeatable, varied, and fit for JSON."""

from __future__ import annotations

import json

import numpy as np

from avacast.training.colour import luma
from avacast.training.identity import BEARDS, HAIR_STYLES, Identity, sample_identity


def identities(num: int) -> list[Identity]:
    return [sample_identity(np.random.default_rng(seed)) for seed in range(num)]


def test_same_seed_same_face() -> None:
    """A seed is a person."""
    assert sample_identity(np.random.default_rng(5)) == sample_identity(np.random.default_rng(5))


def test_survives_json() -> None:
    """Every field is a plain value: a trip through JSON gives the same person."""
    for identity in identities(20):
        assert Identity.from_dict(json.loads(json.dumps(identity.to_dict()))) == identity


def test_everything_on_offer_occurs() -> None:
    """Among 400 people are all hair styles and beards, pale and dark skin, young and old."""
    people = identities(400)
    assert {person.hair_style for person in people} == set(HAIR_STYLES)
    assert {person.beard for person in people} == set(BEARDS)
    skins = [luma(person.skin) for person in people]
    assert min(skins) < 0.3
    assert max(skins) > 0.85
    ages = [person.age for person in people]
    assert min(ages) < 0.1
    assert max(ages) > 0.9


def test_lips_differ_from_skin() -> None:
    """The mouth can be read on anybody: lips are redder than the skin around them."""
    for person in identities(100):
        skin, lip = person.skin, person.lip_colour
        assert lip[0] / sum(lip) > skin[0] / sum(skin) + 0.015
