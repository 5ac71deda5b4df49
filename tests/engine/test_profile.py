"""Profiles: what they promise about latency, held against the real pipeline."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from avacast.engine.audio_features import features_reach
from avacast.engine.config import SAMPLE_RATE_HZ, ModelConfig
from avacast.engine.errors import BadSetting
from avacast.engine.latency import algorithmic_latency
from avacast.engine.pipeline import Pipeline
from avacast.engine.presets import POCKET, STABLEAVATAR_1_3B
from avacast.engine.profile import Profile, ProfileName, SamplerConfig, WindowConfig
from avacast.engine.sample_tail import Samples
from avacast.engine.windows import frames_of_latents

PICTURE = np.zeros((64, 64, 3), np.uint8)
PROFILES = [
    Profile(WindowConfig(window=4, overlap=3, ramp="open", fuse_first_step=True, settle=0)),
    Profile(WindowConfig(window=4, overlap=2, ramp="open", fuse_first_step=True)),
    Profile(WindowConfig(window=5, overlap=2, settle=1), lookahead=1),
    Profile(WindowConfig(window=5, overlap=4, settle=0), lookahead=1),
    Profile(WindowConfig(window=4, overlap=2), lookahead=1, patience="take"),
]


def measured_latency(pipeline: Pipeline, profile: Profile, sound: Samples) -> int:
    """Samples from the first that a frame shows to the last that had to come before it left: the most of all frames,
    but for those of the first window, which is longer than a hop.
    """
    session = pipeline.open_session(PICTURE, profile=profile)
    ahead = profile.num_windows_ahead if profile.patience == "wait" else 0
    first = frames_of_latents(profile.window.window + profile.window.hop * ahead)
    worst, step = 0, 80
    for start in range(0, len(sound), step):
        session.push(sound[start : start + step])
        while frames := session.pull():
            worst = max([worst] + [start + step - 640 * frame.pts for frame in frames if frame.pts >= first])
    return worst


@pytest.mark.parametrize("profile", PROFILES, ids=str)
@pytest.mark.parametrize("alignment", ["stream", "window"])
def test_the_formula_is_what_the_pipeline_does(
    tiny_config: ModelConfig, noise_3s: Samples, profile: Profile, alignment: str
):
    """Sound in pieces of 5 ms: no frame leaves later than the formula says, and the latest exactly then."""
    config = replace(tiny_config, audio=replace(tiny_config.audio, alignment=alignment))
    latency = algorithmic_latency(config, profile)
    measured = measured_latency(Pipeline.with_random_weights(config), profile, noise_3s)
    assert measured - 80 < latency <= measured


@pytest.mark.parametrize("config", [POCKET, STABLEAVATAR_1_3B], ids=lambda config: config.name)
def test_mic_answers_within_320_ms(config: ModelConfig):
    """One hop and the audio encoder's right context."""
    profile = config.profile("mic")
    assert profile.lookahead == 0
    assert 1000 * algorithmic_latency(config, profile) / SAMPLE_RATE_HZ <= 320


@pytest.mark.parametrize("config", [POCKET, STABLEAVATAR_1_3B], ids=lambda config: config.name)
def test_offline_is_the_two_sided_loop_and_tts_takes_what_is_there(config: ModelConfig):
    offline, tts = config.profile("offline"), config.profile("tts")
    assert offline.lookahead == (offline.sampler or config.sampler).num_steps - 1
    assert offline.window.held_back == offline.window.overlap
    assert (tts.patience, offline.patience) == ("take", "wait")
    assert tts.lookahead > 0


def test_profiles_are_part_of_the_configuration(tiny_config: ModelConfig):
    """They survive JSON, and what a model does not name follows from its window."""
    own = Profile(WindowConfig(window=3, overlap=2), sampler=SamplerConfig(num_steps=4))
    config = replace(tiny_config, profiles=replace(tiny_config.profiles, mic=own))
    read = ModelConfig.from_dict(config.to_dict())
    assert read == config
    assert read.profile("mic") == own
    assert read.profile("offline").window.window == tiny_config.window.window


def test_an_unknown_profile_is_refused_with_the_known_ones(tiny_pipeline: Pipeline):
    with pytest.raises(BadSetting, match=", ".join(get_args(ProfileName))):
        tiny_pipeline.open_session(PICTURE, profile="fast")  # type: ignore[arg-type]  # what the test is about


def test_lookahead_must_lie_below_the_steps():
    with pytest.raises(BadSetting, match="below the number of steps"):
        Profile(WindowConfig(), lookahead=4, sampler=SamplerConfig(num_steps=4))
    with pytest.raises(BadSetting, match="0 or more"):
        Profile(WindowConfig(), lookahead=-1)


def test_the_features_reach_is_what_the_encoder_waits_for(tiny_config: ModelConfig):
    """Margin and right context of 20 ms each, and the 5 ms by which the last token overlaps the next."""
    assert features_reach(tiny_config) == 320 * (4 + 4) + 80
