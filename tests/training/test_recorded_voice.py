"""training/recorded_voice.py: who speaks."""

from __future__ import annotations

import pytest

from avacast.training.recorded_voice import TRAINING_VOICES, installed_voices


def test_every_voice_is_named_once() -> None:
    """A voice that stood there twice would be heard twice as often."""
    names = [voice.name for voice in TRAINING_VOICES]
    assert len(set(names)) == len(names)


def test_without_any_program_there_is_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training goes on with the embedded voices then."""
    from avacast.training import festival_voice

    festival_voice.installed_names.cache_clear()
    monkeypatch.setenv("PATH", "")
    try:
        assert installed_voices() == ()
    finally:
        festival_voice.installed_names.cache_clear()
