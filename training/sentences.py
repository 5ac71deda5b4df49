"""Text to speak: a small grammar over common words, and invented words for sounds that English puts together rarely.

Deterministic in the generator it is given. Training and validation use different word lists, so that validation
sentences share no content word with training.
"""

from __future__ import annotations

import numpy as np

_TRAINING_NOUNS = """morning river window garden mother father teacher number people village station market bottle
pepper purple ribbon kitchen summer winter button bubble table apple paper piano photo zebra orange music movie
machine engine picture voice house mouse shoe moon spoon balloon beach cheese tree street road boat coat phone bone
stone home room food school book foot wood rain train plane cake lake name game face place voice toy boy coin oil
town cow cloud sound mountain fountain ear year beard chair bear hair air pear tour poor door floor four thumb lamb
family memory company mob problem map lap cup shop ship sheep pub tub web job bomb brother weather
feather mouth""".split()
_TRAINING_VERBS = """bought made found moved opened helped followed watched washed pushed pulled carried painted
remembered believed forgot measured played joined enjoyed showed threw knew grew drew built bumped jumped mapped
wrapped trapped robbed rubbed named loved lived heard saw""".split()
_TRAINING_ADJECTIVES = """big small blue brown yellow orange purple happy funny famous wonderful beautiful terrible
possible simple warm cold open empty heavy weird free proud loud round smooth rough tough thick thin old young new
""".split()
_VALIDATION_NOUNS = """computer holiday umbrella visitor pocket camera emperor forest bishop octopus volume meadow
vehicle puppet museum whisper pyramid cabbage theme judge""".split()
_VALIDATION_VERBS = "borrowed invited explored welcomed repaired obeyed swapped compared imagined whipped".split()
_VALIDATION_ADJECTIVES = "gloomy marvellous wooden foreign shiny bitter mobile royal eager pompous".split()
_PLACES = ["in the morning", "by the door", "before noon", "with my friends", "for you and me", "at home", "on Monday"]
_OPENERS = ["Well,", "Oh,", "Maybe", "You know,", "Of course", "Hello,", "Look,", "So,", "But", "Now"]
_ONSETS = "p b m f v w t d n s z l r k g h sh ch j th y br pl fl sm tr gr bl".split()
_NUCLEI = "a e i o u oo ee ay ow oy ah aw er ai ou".split()
_CODAS = "m p b n t s f v k l r sh th ng x".split() + [""] * 6
_PLAIN_ONSETS = "p p b b m m f v t d n s l r k g pr br pl bl tr kr kl".split()
_PLAIN_CODAS = "n s r l m".split() + [""] * 10


def sentence(rng: np.random.Generator, *, validation: bool = False) -> str:
    """One sentence of about two to six seconds."""
    if not validation and rng.random() < 0.35:
        return _invented(rng)
    nouns = _VALIDATION_NOUNS if validation else _TRAINING_NOUNS
    verbs = _VALIDATION_VERBS if validation else _TRAINING_VERBS
    adjectives = _VALIDATION_ADJECTIVES if validation else _TRAINING_ADJECTIVES
    subject = rng.choice(["I", "we", "they", "you", "he", "she", f"the {rng.choice(nouns)}", f"my {rng.choice(nouns)}"])
    clause = f"{subject} {rng.choice(verbs)} {rng.choice(['a', 'the', 'your', 'some'])} "
    clause += f"{rng.choice(adjectives)} {rng.choice(nouns)}"
    if rng.random() < 0.5:
        clause += f" {rng.choice(_PLACES)}"
    if rng.random() < 0.4:
        clause = f"{rng.choice(_OPENERS)} {clause}"
    if rng.random() < 0.3:
        clause += f", and the {rng.choice(nouns)} is {rng.choice(adjectives)}"
    return clause[0].upper() + clause[1:] + str(rng.choice([".", ".", "!", "?"]))


def _invented(rng: np.random.Generator) -> str:
    words = [_invented_word(rng) for _ in range(int(rng.integers(3, 9)))]
    if len(words) > 5 and rng.random() < 0.5:
        words[3] += ","
    return " ".join(words) + "."


def plain_sentence(rng: np.random.Generator) -> str:
    """Invented words of syllables that every language with Latin letters reads about alike."""
    words = [_plain_word(rng) for _ in range(int(rng.integers(3, 9)))]
    if len(words) > 5 and rng.random() < 0.5:
        words[3] += ","
    return " ".join(words) + "."


def _plain_word(rng: np.random.Generator) -> str:
    syllables = int(rng.integers(1, 4))
    open_ones = "".join(f"{rng.choice(_PLAIN_ONSETS)}{rng.choice(list('aeiou'))}" for _ in range(syllables))
    return open_ones + str(rng.choice(_PLAIN_CODAS))


def _invented_word(rng: np.random.Generator) -> str:
    syllables = int(rng.integers(1, 4))
    return "".join(f"{rng.choice(_ONSETS)}{rng.choice(_NUCLEI)}" for _ in range(syllables)) + str(rng.choice(_CODAS))
