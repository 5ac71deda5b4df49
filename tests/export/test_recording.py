"""What is kept of a session's calls, and what is told meanwhile."""

from __future__ import annotations

import torch

from avacast.engine.pipeline import Pipeline
from avacast.engine.portrait import Picture
from avacast.engine.sample_tail import Samples
from avacast.engine.static_form import StaticShape, signatures
from avacast.export.recording import Recording, record


def recorded(pipeline: Pipeline, picture: Picture, sound: Samples, *names: str, max_calls: int = 3) -> Recording:
    profile = pipeline.config.profile("mic")
    found = signatures(StaticShape(pipeline.config, profile, 1, torch.float32))
    return record(pipeline, profile, picture, sound, {name: found[name] for name in names}, max_calls=max_calls)


def test_only_what_is_wanted_is_kept_and_no_more_of_it(released_pipeline: Pipeline, picture: Picture, sound: Samples):
    """Other networks run as they would; the frames are all of the session's."""
    one = recorded(released_pipeline, picture, sound, "step", "clip", max_calls=2)
    assert {name: len(calls) for name, calls in one.calls.items()} == {"step": 2, "clip": 1}
    assert len(one.frames) == -(-len(sound) // released_pipeline.config.samples_per_frame)


def test_keys_of_text_and_picture_are_shared_by_all_calls(
    released_pipeline: Pipeline, picture: Picture, sound: Samples
):
    """They are most of what a call is given, and the same for the whole session; the rest is each call's own."""
    first, second, *_ = recorded(released_pipeline, picture, sound, "step").calls["step"]
    for name in ("text_keys", "text_values", "image_keys", "image_values"):
        assert first.inputs[name].data_ptr() == second.inputs[name].data_ptr()
    assert not torch.equal(first.inputs["latents"], second.inputs["latents"])


def test_the_frames_so_far_are_told(small_pipeline: Pipeline, picture: Picture, sound: Samples):
    """Of how many there will be, to the last."""
    profile, told = small_pipeline.config.profile("mic"), list[tuple[int, int]]()
    whole = record(small_pipeline, profile, picture, sound, {}, max_calls=0, report=lambda *counts: told.append(counts))
    assert told == sorted(told)
    assert len(told) > 1
    assert told[-1] == (len(whole.frames), len(whole.frames))
