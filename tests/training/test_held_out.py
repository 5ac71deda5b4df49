"""The evaluation set: what is written is what was drawn and said, and nobody in it was trained on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from avacast.bench.clip_figures import figures_of
from avacast.bench.held_out_clip import HELD_OUT, HeldOutClip, read_held_out
from avacast.engine.config import SAMPLE_RATE_HZ
from avacast.engine.measures import speech_envelope
from avacast.engine.presets import POCKET
from avacast.training import held_out as recipe
from avacast.training.clips import VALIDATION_SEED, Clip
from avacast.training.recorded_voice import HELD_OUT_VOICES, TRAINING_VOICES
from avacast.training.speech import VALIDATION_VARIANTS

SIZE = 128


@pytest.fixture(scope="module")
def played() -> tuple[Clip, recipe.Said]:
    torch.set_num_threads(1)
    return recipe.drawn_clip(0)


@pytest.fixture(scope="module")
def folder(played: tuple[Clip, recipe.Said], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("held_out")
    recipe.write_clip(folder / "drawn_0", *played, SIZE)
    return folder


@pytest.fixture(scope="module")
def drawn(folder: Path) -> HeldOutClip:
    return read_held_out(folder)[0]


def test_its_seeds_lie_beyond_those_of_training() -> None:
    """Apart also from the clips that training looks at."""
    assert recipe.FIRST_SEED > VALIDATION_SEED + 150
    assert recipe.FIRST_SEED + len(VALIDATION_VARIANTS) <= recipe.RECORDED_SEED


def test_a_seed_draws_and_says_the_same_again(played: tuple[Clip, recipe.Said]) -> None:
    """Person, voice and words; sound differs a little, for the voice remembers what it said before."""
    clip, said = recipe.drawn_clip(0)
    assert torch.equal(clip.render_portrait(SIZE), played[0].render_portrait(SIZE))
    assert (said.voice, said.text) == (played[1].voice, played[1].text)
    assert recipe.drawn_clip(1)[1].text != said.text


def test_true_frames_get_full_marks(drawn: HeldOutClip, played: tuple[Clip, recipe.Said]) -> None:
    """What is stored of them is what the measures read off them: correlation 1, shut when they should be."""
    clip, said = played
    figures = figures_of(clip.render(SIZE).frames.numpy(), drawn, POCKET.window)
    assert figures.lip_correlation == pytest.approx(1.0, abs=1e-4)
    assert figures.sharpness == pytest.approx(1.0)
    assert figures.background_ssim > 0.99
    assert figures.closed_in_pauses > 0.95
    assert figures.bilabials_closed > 0.8
    assert figures.rounded_width < 0.9
    assert (figures.blink_correlation, figures.head_motion) == (pytest.approx(1.0), pytest.approx(1.0))
    assert 8 <= figures.blinks_per_minute <= 30
    assert figures.colour_error < 0.1
    assert figures.teeth_shown == 1.0
    assert drawn.seed == clip.motion_seed
    assert said.voice.endswith(VALIDATION_VARIANTS[0])
    assert drawn.samples == pytest.approx(said.track.samples, abs=2 / 32768)


def test_the_reading_follows_what_was_performed(folder: Path, drawn: HeldOutClip) -> None:
    """The stored opening of the renderer and the one read off its frames agree."""
    assert drawn.truth is not None
    performed = json.loads((folder / "drawn_0.json").read_text())["truth"]["opening"]
    assert np.corrcoef(performed, drawn.truth.mouth_reading)[0, 1] > 0.9


@pytest.mark.skipif(not HELD_OUT_VOICES[0].is_installed, reason="flite is not installed (apt install flite)")
def test_recorded_voices_take_turns_and_their_mouths_are_known() -> None:
    """Voices that training leaves out; what they say moves the lips, which are shut in their pauses."""
    voices = [recipe.recorded_clip(index)[1].voice for index in (0, 1)]
    assert voices == ["flite slt", "flite rms"]
    assert not {voice.name for voice in HELD_OUT_VOICES} & {voice.name for voice in TRAINING_VOICES}

    clip, said = recipe.recorded_clip(0)
    loudness = speech_envelope(said.track.samples, SAMPLE_RATE_HZ // recipe.FPS, recipe.NUM_FRAMES)
    assert clip.performance.jaw[loudness < 0.01].mean() < 0.3 * clip.performance.jaw[loudness > 0.3].mean()
    assert {p.name for p in said.track.phonemes} & set("pbm")


def test_the_set_that_ships_has_people_of_both_kinds() -> None:
    """So that what is said of voices made of recordings is measured, on figures that have a truth."""
    clips = read_held_out(HELD_OUT)
    assert [clip.recorded for clip in clips] == [False] * len(VALIDATION_VARIANTS) + [True] * recipe.NUM_RECORDED
    assert all(clip.truth is not None for clip in clips)
