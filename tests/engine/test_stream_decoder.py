"""A stream's decoder and its points: going back gives the same pictures, whatever a point consists of."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from avacast.engine.networks import Networks
from avacast.engine.offload import Move, Offload, pinned_bytes
from avacast.engine.pipeline import Pipeline
from avacast.engine.precision import Precision
from avacast.engine.presets import STABLEAVATAR_1_3B
from avacast.engine.profile import ProfileName
from avacast.engine.reference_detail import ReferenceDetail
from avacast.engine.resting_state import PackedTensor, Resting, RestingState
from avacast.engine.rewind import MAX_BYTES, MAX_POINTS, Rewind
from avacast.engine.stream_decoder import MAX_BEHIND, DecoderPoint, StreamDecoder
from avacast.engine.wan_vae import WanVAE

PICTURES = np.random.default_rng(4).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def networks(released_pipeline: Pipeline) -> Networks:
    """The Wan VAE in bfloat16, whose states are packed."""
    fresh = Pipeline.with_random_weights(released_pipeline.config, dtype=torch.float32).networks
    return fresh.for_inference("cpu", Precision(torch.float32, torch.bfloat16))


def latents_of(num: int) -> tuple[Tensor, ...]:
    return torch.randn(1, 16, num, 8, 8, generator=torch.Generator().manual_seed(3)).split(1, dim=2)


def tensors_of(state: Resting | None) -> list[Tensor]:
    """What a state holds."""
    parts = () if state is None else state.past
    return [
        tensor for part in parts for tensor in ([part.low, part.high] if isinstance(part, PackedTensor) else [part])
    ]


@pytest.mark.parametrize("copies", [False, True], ids=["shared", "through the host"])
@pytest.mark.parametrize("small_bytes", [0, 10**9])
@pytest.mark.parametrize("detail", [None, ReferenceDetail(*PICTURES)])
def test_going_back_to_any_point_shows_the_same_again(
    networks: Networks, detail: ReferenceDetail | None, small_bytes: int, copies: bool
):
    """To the last bit, also where the point is an older state and the latents since, with the picture's detail, and
    where states were copied to the host meanwhile.
    """
    offload = Offload(networks.device, copies=copies)
    with torch.inference_mode():
        decoder = StreamDecoder(
            networks, goes_back=True, detail=detail, small_bytes=small_bytes, packs=True, offload=offload
        )
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


@pytest.mark.parametrize("small_bytes", [0, 10**9])
def test_of_states_that_leave_the_device_only_the_one_at_hand_is_held_there(networks: Networks, small_bytes: int):
    """No point shares memory with it, so what they hold is the host's alone; going back does not change that."""
    with torch.inference_mode():
        offload = Offload(networks.device, copies=True)
        decoder = StreamDecoder(networks, goes_back=True, small_bytes=small_bytes, packs=True, offload=offload)
        points: list[DecoderPoint] = []
        for latent in latents_of(MAX_BEHIND + 3):
            decoder.decode(latent)
            points.append(decoder.point)
        for place in (len(points) - 1, 2, len(points) - 2):
            decoder.go_to(points[place])
            kept = {tensor.data_ptr() for point in points for tensor in tensors_of(point.state)}
            assert kept
            assert not kept & {tensor.data_ptr() for tensor in tensors_of(decoder._state)}


class Counted(Offload):
    """The way to the host for tensors without values: notes what left."""

    def __init__(self) -> None:
        super().__init__(torch.device("meta"), copies=True)
        self.away: set[int] = set()

    def _leave(self, tensor: Tensor) -> Tensor:
        left = torch.empty_like(tensor)
        self.away.add(id(left))
        return left

    def num_bytes(self, tensor: Tensor) -> int:
        return pinned_bytes(tensor.nbytes) if id(tensor) in self.away else tensor.nbytes


def served_decoder(offload: Offload) -> StreamDecoder:
    """The released one at 512x512, of tensors without values."""
    config = STABLEAVATAR_1_3B
    with torch.device("meta"):
        vae = WanVAE(config.vae).to("meta", torch.bfloat16)
        networks = replace(Networks.build(replace(config, dit=replace(config.dit, num_layers=1))), vae=vae)
        return StreamDecoder(networks, goes_back=True, packs=True, offload=offload)


def test_the_points_of_a_served_session_take_none_of_a_gpu():
    """The released decoder at 512x512, with a point for each of 19 latent frames: a viewer is never further behind.

    If its points stayed there would be two states beside the one at hand; on the host they cost latents only.
    """
    offload, points = Counted(), list[DecoderPoint]()
    decoder = served_decoder(offload)
    with torch.device("meta"), torch.inference_mode():
        for _ in range(19):
            decoder.decode(torch.empty(1, 16, 1, *STABLEAVATAR_1_3B.latent_size))
            points.append(decoder.point)
    held = [*tensors_of(decoder._state), *(tensor for point in points for tensor in tensors_of(point.state))]
    held += [latents for point in points for latents in point.since]
    num_bytes = {id(tensor): tensor.nbytes for tensor in held}
    on_host = sum(size for tensor, size in num_bytes.items() if tensor in offload.away)
    on_device = sum(num_bytes.values()) - on_host
    print(f"of {(on_device + on_host) / 1e9:.2f} GB a GPU holds {on_device / 1e9:.2f} GB")
    state = 0.75 * 1_239_678_976
    assert on_host == pytest.approx(2 * state, rel=1e-3)
    assert state < on_device < state + 10e6


@dataclass(frozen=True)
class Shown:
    """As much of a session's state as its decoder keeps, and as many lines of latents as a session may have."""

    num_frames_shown: int
    decoder: DecoderPoint
    lines: tuple[Tensor, ...]

    @property
    def tensors(self) -> list[Tensor]:
        return [*self.lines, *self.decoder.tensors]

    def moved(self, move: Move) -> Shown:
        return replace(self, lines=tuple(map(move, self.lines)))


@pytest.mark.parametrize(("profile", "num_points"), [("mic", MAX_POINTS), ("tts", 7)])
def test_no_point_that_a_server_could_ask_for_goes_for_its_memory(profile: ProfileName, num_points: int):
    """The released model at 512x512 whose viewer tells nothing: 23 latent frames can always be taken back, more than
    the three seconds by which a server is ahead; and the host's memory has a bound.
    """
    window = STABLEAVATAR_1_3B.profile(profile).window
    offload, size = Counted(), STABLEAVATAR_1_3B.latent_size
    decoder = served_decoder(offload)
    with torch.device("meta"), torch.inference_mode():

        def shown(num_latents: int) -> Shown:
            lines = tuple(torch.empty(1, 16, window.window, *size) for _ in range(4))
            return Shown(4 * num_latents, decoder.point, lines)

        decoder.decode(torch.empty(1, 16, 1, *size))  # from now on the states differ in nothing that has a size
        rewind, most, reaches, nums = Rewind(shown(0), offload), 0, dict[int, int](), list[int]()
        for num_latents in range(window.hop, 150, window.hop):
            decoder._point = decoder._next_point(torch.empty(1, 16, window.hop, *size))
            rewind.add(shown(num_latents))
            most = max(most, rewind.num_bytes)
            nums.append(len(rewind._points))
            reaches[num_latents] = num_latents - rewind.forget(0) // 4
    reach, num = (min(reaches[num] for num in reaches if num >= 48), min(nums[len(nums) // 2 :]))
    print(f"{profile}: {num} points, {most / 1e9:.2f} GB at most, back by {reach} latent frames")
    assert num == num_points
    assert 4e9 < most <= MAX_BYTES
    assert 4 * reach >= 92 > 3 * 25


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
