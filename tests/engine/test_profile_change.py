"""Another profile between two utterances is not seen: measured on the embedded avatar, with a real voice."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
import soxr

from avacast.engine.bundle import embedded_bundle
from avacast.engine.config import SAMPLE_RATE_HZ
from avacast.engine.measures import frame_difference
from avacast.engine.pipeline import Pipeline
from avacast.engine.portrait import load_portrait
from avacast.engine.profile import Profile
from avacast.engine.sample_tail import Samples
from avacast.engine.voice import Voice
from avacast.streaming.gallery import find_portrait

SPOKEN_FRAMES, SILENT_FRAMES, UNCHANGED_FRAMES = 30, 20, 12
MAX_RATIO = 1.5


@pytest.fixture(scope="module")
def pocket() -> Pipeline:
    return Pipeline.load(embedded_bundle())


def utterance() -> Samples:
    """So much speech, and so much silence."""
    speech = Voice().speak("My mother bought a purple boat.")
    samples = soxr.resample(speech.samples, speech.sample_rate_hz, SAMPLE_RATE_HZ)
    spoken = np.resize(np.trim_zeros(samples), SPOKEN_FRAMES * 640)
    return np.pad(spoken, (0, SILENT_FRAMES * 640)).astype(np.float32)


def changes(pipeline: Pipeline) -> Iterator[Profile]:
    for name in ("tts", "mic", "offline", "mic"):
        yield pipeline.config.profile(name)
    yield pipeline.config.idle(pipeline.config.profile("mic"))
    yield pipeline.config.profile("mic")


@pytest.mark.timeout(300)
def test_another_profile_between_utterances_shows_no_cut(pocket: Pipeline) -> None:
    """In the pause the profile changes; where its windows take over, the frame difference is at most 1.5 times that
    of speech.
    """
    session = pocket.open_session(load_portrait(find_portrait("ada")), profile="mic")
    images, joints, changed = list[np.ndarray](), [0], list[int]()
    for profile in changes(pocket):
        for slice_, samples in enumerate(np.split(utterance(), SPOKEN_FRAMES + SILENT_FRAMES)):
            if slice_ == SPOKEN_FRAMES + UNCHANGED_FRAMES:
                session.change_profile(profile)
                changed.append(len(images))
            session.push(samples)
            while frames := session.pull():
                images += [frame.image for frame in frames]
                joints.append(len(images))
    difference = frame_difference(np.stack(images))
    turn = SPOKEN_FRAMES + SILENT_FRAMES
    spoken = np.concatenate([difference[start : start + SPOKEN_FRAMES] for start in range(0, len(images), turn)])
    ratios: list[float] = []
    for number in changed[:-1]:  # after the last nothing follows
        # Windows in flight finish first, so the change shows at one of the next joints.
        first, second = [joint for joint in joints if number <= joint < len(images)][:2]
        ratios += [difference[joint - 1] / spoken.mean() for joint in (first, second)]
    print("frame difference at the changes over that of speech:", np.round(ratios, 2))
    assert spoken.mean() > 0.1, "a level: it does move"
    assert max(ratios) <= MAX_RATIO
    assert all(later > earlier for earlier, later in pairwise(joints))
