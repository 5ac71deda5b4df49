"""Voices made of recordings of people: who there is, and who of them is installed.

The embedded espeak-ng speaks with sounds that nobody uttered, so what learns from it alone hears real people badly.
These are diphones, units and statistics of real recordings, and their synthesisers tell when each phoneme is spoken.
What an invented word means matters to nobody here, so it is no fault that most of them speak no English.
"""

from __future__ import annotations

from avacast.training.festival_voice import FestivalVoice
from avacast.training.flite_voice import FliteVoice
from avacast.training.phone_sets import CATALAN, CZECH, FINNISH, ITALIAN, US_ENGLISH

RecordedVoice = FliteVoice | FestivalVoice

TRAINING_VOICES: tuple[RecordedVoice, ...] = (
    FliteVoice("awb"),
    FliteVoice("kal16"),
    FestivalVoice("ked_diphone", "festvox-kdlpc16k", US_ENGLISH),
    FestivalVoice("czech_dita", "festvox-czech-dita", CZECH),
    FestivalVoice("czech_krb", "festvox-czech-krb", CZECH),
    FestivalVoice("czech_machac", "festvox-czech-machac", CZECH),
    FestivalVoice("czech_ph", "festvox-czech-ph", CZECH),
    FestivalVoice("suo_fi_lj_diphone", "festvox-suopuhe-lj", FINNISH),
    FestivalVoice("hy_fi_mv_diphone", "festvox-suopuhe-mv", FINNISH),
    FestivalVoice("lp_diphone", "festvox-italp16k", ITALIAN),
    FestivalVoice("pc_diphone", "festvox-itapc16k", ITALIAN),
    FestivalVoice("upc_ca_ona_hts", "festvox-ca-ona-hts", CATALAN),
)
"""A Scot, two Americans, three Czechs and a Czech child, a woman and a man of Finland and of Italy, a Catalan."""

HELD_OUT_VOICES = (FliteVoice("slt"), FliteVoice("rms"))
"""A woman and a man whom training never hears."""


def installed_voices() -> tuple[RecordedVoice, ...]:
    """Those of the training voices that can speak on this machine."""
    return tuple(voice for voice in TRAINING_VOICES if voice.is_installed)
