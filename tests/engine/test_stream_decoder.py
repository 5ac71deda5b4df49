"""A stream's decoder and its points: going back gives the same pictures, whatever a point consists of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from avacast.engine.networks import Networks
from avacast.engine.pipeline import Pipeline
from avacast.engine.precision import Precision
from avacast.engine.reference_detail import ReferenceDetail
from avacast.engine.resting_state import RestingState
from avacast.engine.stream_decoder import MAX_BEHIND, DecoderPoint, StreamDecoder

PICTURES = np.random.default_rng(4).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def networks(released_pipeline: Pipeline) -> Networks:
    """The Wan VAE in bfloat16, whose states are packed."""
    fresh = Pipeline.with_random_weights(released_pipeline.config, dtype=torch.float32).networks
    return fresh.for_inference("cpu", Precision(torch.float32, torch.bfloat16))


def latents_of(num: int) -> tuple[Tensor, ...]:
    return torch.randn(1, 16, num, 8, 8, generator=torch.Generator().manual_seed(3)).split(1, dim=2)


@pytest.mark.parametrize("detail", [None, ReferenceDetail(*PICTURES)])
def test_going_back_to_any_point_shows_the_same_again(networks: Networks, detail: ReferenceDetail | None):
    """To the last bit, also where the point is an older state and the latents since, and with the picture's detail."""
    with torch.inference_mode():
        decoder = StreamDecoder(networks, goes_back=True, detail=detail, small_bytes=0, packs=True)
        latents = latents_of(MAX_BEHIND + 5)
        points, shown = [decoder.point], list[Tensor]()
        for latent in latents:
            shown.append(decoder.decode(latent).wait())
            points.append(decoder.point)
        for place in (0, 3, MAX_BEHIND + 2, 6):
            decoder.go_to(points[place])
            for latent, expected in zip(latents[place : place + 2], shown[place : place + 2], strict=True):
                assert torch.equal(decoder.decode(latent).wait(), expected)
    assert shown[1].shape == (4, 64, 64, 3)


def test_of_a_large_state_few_are_kept(networks: Networks):
    """Of as many points as there are latents, one in nine has a state of its own, which is packed."""
    with torch.inference_mode():
        decoder = StreamDecoder(networks, goes_back=True, small_bytes=0, packs=True)
        points: list[DecoderPoint] = []
        for latent in latents_of(2 * MAX_BEHIND + 3):
            decoder.decode(latent)
            points.append(decoder.point)
    states = {id(point.state): point.state for point in points}
    assert len(states) == 3, "none at the beginning, and two since"
    assert {type(state) for state in states.values()} == {type(None), RestingState}
    assert max(len(point.since) for point in points) == MAX_BEHIND


@pytest.mark.parametrize("goes_back", [True, False])
def test_a_small_state_is_kept_for_every_point_and_so_is_that_of_a_stream_that_never_goes_back(
    networks: Networks, tiny_pipeline: Pipeline, goes_back: bool
):
    """Going back costs nothing then, and nothing older is held."""
    given = replace(tiny_pipeline.networks) if goes_back else networks
    channels, *size = (8, 8, 8) if goes_back else (16, 8, 8)
    with torch.inference_mode():
        decoder = StreamDecoder(given, goes_back=goes_back)
        for _ in range(3):
            decoder.decode(torch.randn(1, channels, 1, *size))
            assert decoder.point.since == ()
            assert decoder.point.state is not None
