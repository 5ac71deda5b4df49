"""Something around each call of a network: also where all passes of a window are one call."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from avacast.bench.measured_networks import DECODER, SPEECH_ENCODER, TRANSFORMER, PartTimes, measured
from avacast.engine.captured_session import CapturedLoop, captured_loop
from avacast.engine.config import ModelConfig
from avacast.engine.pipeline import Pipeline
from avacast.engine.plan import Plans
from avacast.engine.static_form import StaticShape


def test_whole_windows_are_the_transformer_s_time(tiny_config: ModelConfig):
    """A session that runs them shows the same, and every part of it is measured."""
    plain = Pipeline.with_random_weights(tiny_config, dtype=torch.float32)
    profile = tiny_config.profile("mic")
    shape = StaticShape(tiny_config, profile, 1, torch.float32)
    with torch.inference_mode():
        session = captured_loop(plain.networks.dit, shape, (profile.sampler or tiny_config.sampler).num_steps)
    loop = CapturedLoop(plain.networks.dit, [session])
    whole = Pipeline(tiny_config, replace(plain.networks, plans=Plans(loop=loop)))
    sound = np.random.default_rng(3).normal(0, 0.1, 16_000).astype(np.float32)
    times, images = PartTimes(), []
    with measured(whole, times) as pipeline:
        for one in (plain, pipeline):
            stream = one.open_session(np.full((64, 64, 3), 90, np.uint8))
            stream.push(sound)
            images.append(np.stack([frame.image for frame in stream.pull()]))
    assert np.array_equal(*images)
    assert {part for part, seconds in times.seconds.items() if seconds > 0} == {SPEECH_ENCODER, TRANSFORMER, DECODER}
