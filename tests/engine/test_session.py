from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from avacast.engine import session as session_module
from avacast.engine.config import ModelConfig
from avacast.engine.errors import BadAudio, BadSetting, SessionClosed
from avacast.engine.frame import Frame
from avacast.engine.networks import DecoderState, Networks
from avacast.engine.noise import window_noise
from avacast.engine.offline import offline_loop
from avacast.engine.offload import Offload
from avacast.engine.pipeline import Pipeline
from avacast.engine.portrait import Picture
from avacast.engine.profile import Profile, ProfileName, SamplerConfig, WindowConfig
from avacast.engine.reference import Reference, prepare_portrait
from avacast.engine.rewind import Rewind
from avacast.engine.sample_tail import Samples
from avacast.engine.session import Session
from avacast.engine.stream_decoder import StreamDecoder
from avacast.engine.tiny_vae import StreamState
from avacast.engine.windows import latents_for_frames

PICTURE: Picture = np.random.default_rng(1).integers(0, 256, (80, 64, 3), dtype=np.uint8)


def pull_all(session: Session) -> list[Frame]:
    """Everything that can be pulled now."""
    frames: list[Frame] = []
    while pulled := session.pull():
        frames += pulled
    return frames


def run(
    pipeline: Pipeline,
    pieces: list[Samples],
    *,
    seed: int = 0,
    pull_between: bool = True,
    profile: ProfileName | Profile = "mic",
) -> np.ndarray:
    """Images `[N, H, W, 3]` of a whole stream; checks that it ends and that frames are numbered without a gap."""
    session = pipeline.open_session(PICTURE, seed=seed, profile=profile)
    frames: list[Frame] = []
    for piece in pieces:
        session.push(piece)
        frames += pull_all(session) if pull_between else []
    session.flush()
    frames += pull_all(session)
    assert session.finished
    assert [frame.pts for frame in frames] == list(range(len(frames)))
    return np.stack([frame.image for frame in frames]) if frames else np.zeros((0, 64, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def whole(tiny_pipeline: Pipeline, noise_3s: Samples) -> np.ndarray:
    return run(tiny_pipeline, [noise_3s])


@pytest.mark.parametrize("size", [53, 640, 5_000, 30_000])
def test_chunked_equals_whole(tiny_pipeline: Pipeline, noise_3s: Samples, whole: np.ndarray, size: int):
    """The frames are identical, to the last bit, however the sound is cut and whenever frames are pulled."""
    pieces = [noise_3s[i : i + size] for i in range(0, len(noise_3s), size)]
    assert np.array_equal(run(tiny_pipeline, pieces), whole)
    assert np.array_equal(run(tiny_pipeline, pieces, pull_between=False), whole)


@given(cuts=st.lists(st.integers(0, 20_000), max_size=4), length=st.integers(0, 20_000))
@settings(max_examples=8)
def test_chunked_equals_whole_at_any_cuts_and_length(
    tiny_pipeline: Pipeline, noise_3s: Samples, cuts: list[int], length: int
):
    sound = noise_3s[:length]
    images = run(tiny_pipeline, np.split(sound, sorted(cuts)))
    assert len(images) == math.ceil(length / 640)
    assert np.array_equal(images, run(tiny_pipeline, [sound]))


@pytest.mark.parametrize(
    "window",
    [
        WindowConfig(window=4, overlap=2, ramp="open", fuse_first_step=True, settle=0),
        WindowConfig(window=5, overlap=3, ramp="open", fuse_first_step=True, settle=1),
        WindowConfig(window=3, overlap=0),
        WindowConfig(window=1, overlap=0),
    ],
    ids=str,
)
@pytest.mark.parametrize("num_samples", [1, 641, 20_480, 21_121, 40_000])
def test_every_window_plan_makes_a_frame_for_every_40_ms(
    tiny_pipeline: Pipeline, noise_3s: Samples, window: WindowConfig, num_samples: int
):
    pipeline = Pipeline(replace(tiny_pipeline.config, window=window), tiny_pipeline.networks)
    images = run(pipeline, [noise_3s[:num_samples]])
    assert images.shape == (math.ceil(num_samples / 640), 64, 64, 3)
    assert images.dtype == np.uint8


def test_the_released_way_runs_too(tiny_pipeline: Pipeline, noise_3s: Samples):
    """Window alignment, reference on the first latent frame, velocity, closed ramp, first step unfused."""
    config = tiny_pipeline.config
    released = replace(
        config,
        dit=replace(config.dit, reference_on="first", prediction="velocity"),
        audio=replace(config.audio, alignment="window", normalize=True),
        window=WindowConfig(window=5, overlap=2),
    )
    pipeline = Pipeline.with_random_weights(released, dtype=torch.float32)
    images = run(pipeline, [noise_3s])
    assert len(images) == 75
    assert np.array_equal(run(pipeline, np.split(noise_3s, [100, 9_000, 33_333])), images)


def test_the_released_model_runs_live(released_pipeline: Pipeline, noise_3s: Samples):
    """Text, CLIP tokens and the Wan VAE, decoded as a stream: chunked equals whole, and the picture shows."""
    images = run(released_pipeline, [noise_3s[:30_000]])
    assert images.shape == (47, 64, 64, 3)
    assert np.array_equal(run(released_pipeline, [noise_3s[:17_000], noise_3s[17_000:30_000]]), images)
    session = released_pipeline.open_session(255 - PICTURE)
    session.push(noise_3s[:30_000])
    assert not np.array_equal(session.pull()[0].image, images[0])


def test_the_released_model_decodes_each_latent_once(
    released_pipeline: Pipeline, noise_3s: Samples, monkeypatch: pytest.MonkeyPatch
):
    decoded: list[int] = []
    decode = Networks.decode

    def counted(networks: Networks, latents: Tensor, state: DecoderState | None) -> tuple[Tensor, DecoderState]:
        decoded.append(latents.shape[2])
        return decode(networks, latents, state)

    monkeypatch.setattr(Networks, "decode", counted)
    images = run(released_pipeline, [noise_3s[:30_000]])
    assert sum(decoded) == latents_for_frames(len(images))
    assert len(decoded) > 1


def test_silence_and_no_sound_at_all_are_sound(tiny_pipeline: Pipeline):
    assert len(run(tiny_pipeline, [np.zeros(6_400, np.float32)])) == 10
    assert len(run(tiny_pipeline, [])) == 0


def test_equal_seeds_give_equal_frames_and_other_seeds_others(
    tiny_pipeline: Pipeline, noise_3s: Samples, whole: np.ndarray
):
    assert np.array_equal(run(tiny_pipeline, [noise_3s], seed=0), whole)
    assert not np.array_equal(run(tiny_pipeline, [noise_3s], seed=1), whole)


def test_the_sound_and_the_picture_reach_the_frames(tiny_pipeline: Pipeline, noise_3s: Samples, whole: np.ndarray):
    assert not np.array_equal(run(tiny_pipeline, [-noise_3s]), whole)
    session = tiny_pipeline.open_session(255 - PICTURE)
    session.push(noise_3s)
    assert not np.array_equal(session.pull()[0].image, whole[0])


def test_neighbouring_windows_are_fused(tiny_pipeline: Pipeline, noise_3s: Samples, whole: np.ndarray):
    """The weights of the overlap show in the frames."""
    config = tiny_pipeline.config
    fixed = Pipeline(replace(config, window=replace(config.window, weights="fixed")), tiny_pipeline.networks)
    images = run(fixed, [noise_3s])
    assert np.array_equal(images[:5], whole[:5])
    assert not np.array_equal(images[5:], whole[5:])


def test_sessions_of_one_pipeline_do_not_influence_each_other(
    tiny_pipeline: Pipeline, noise_3s: Samples, whole: np.ndarray
):
    one, other = tiny_pipeline.open_session(PICTURE), tiny_pipeline.open_session(255 - PICTURE, seed=9)
    frames: list[Frame] = []
    for i in range(0, len(noise_3s), 4_000):
        one.push(noise_3s[i : i + 4_000])
        other.push(-noise_3s[i : i + 4_000])
        frames += one.pull()
        other.pull()
    one.flush()
    other.close()
    frames += pull_all(one)
    assert np.array_equal(np.stack([frame.image for frame in frames]), whole)


def test_sound_yet_to_come_does_not_change_frames_that_left(
    tiny_pipeline: Pipeline, noise_3s: Samples, whole: np.ndarray
):
    session = tiny_pipeline.open_session(PICTURE)
    session.push(noise_3s[:24_000])
    early = pull_all(session)
    session.push(-noise_3s[24_000:])
    late = pull_all(session)
    assert len(early) > 8
    assert np.array_equal(np.stack([frame.image for frame in early]), whole[: len(early)])
    assert not np.array_equal(late[-1].image, whole[late[-1].pts])


def test_a_restored_snapshot_goes_on_as_the_session_did(tiny_pipeline: Pipeline, noise_3s: Samples, whole: np.ndarray):
    session = tiny_pipeline.open_session(PICTURE)
    session.push(noise_3s[:24_000])
    session.pull()
    state = session.snapshot()
    session.push(-noise_3s[24_000:])
    session.flush()
    pull_all(session)
    for _ in range(2):
        session.restore(state)
        session.push(noise_3s[24_000:])
        session.flush()
        frames = pull_all(session)
        assert session.finished
        assert np.array_equal(np.stack([frame.image for frame in frames]), whole[frames[0].pts :])


def test_a_pull_does_at_most_one_window(tiny_pipeline: Pipeline, noise_3s: Samples, monkeypatch: pytest.MonkeyPatch):
    passes: list[int] = []
    velocity = Networks.velocity

    def counted(networks: Networks, latents: Tensor, *rest: object) -> Tensor:
        passes.append(latents.shape[2])
        return velocity(networks, latents, *rest)

    monkeypatch.setattr(Networks, "velocity", counted)
    session = tiny_pipeline.open_session(PICTURE)
    session.push(noise_3s)
    session.flush()
    while not session.finished:
        before = len(passes)
        session.pull()
        assert len(passes) - before in (0, tiny_pipeline.config.sampler.num_steps)


def test_state_stays_as_large_as_it_was_however_long_the_stream(tiny_pipeline: Pipeline, noise_3s: Samples):
    def num_bytes(session: Session) -> int:
        state = session.snapshot()
        decoder = state.decoder.state
        assert isinstance(decoder, StreamState)
        tensors = [line.latents for line in state.latents.ring[1].lines if line is not None] + list(decoder.past)
        return sum(t.untyped_storage().nbytes() for t in tensors) + 4 * sum(
            map(len, state.latents.features.samples.pieces)
        )

    session = tiny_pipeline.open_session(PICTURE)
    sizes: list[int] = []
    for _ in range(4):
        session.push(noise_3s[:46_080])  # nine hops, so that the stream stands at the same place of a hop
        pull_all(session)
        sizes.append(num_bytes(session))
    assert len(set(sizes[1:])) == 1


@pytest.mark.parametrize("num_samples", [641, 20_000, 48_000])
@pytest.mark.parametrize("num_steps", [1, 2, 4])
def test_with_full_lookahead_the_session_shows_what_the_offline_loop_makes(
    tiny_config: ModelConfig, noise_3s: Samples, num_samples: int, num_steps: int
):
    """The same floats in: a relative error of at most 1e-6 in the latents, and so the same frames but for rounding."""
    config = replace(tiny_config, sampler=replace(tiny_config.sampler, num_steps=num_steps))
    pipeline = Pipeline.with_random_weights(config, dtype=torch.float32)
    live = run(pipeline, [noise_3s[:num_samples]], profile="offline")

    networks, schedule = pipeline.networks, pipeline.schedule
    portrait = prepare_portrait(PICTURE, 64, 64)
    reference = Reference.encode(networks.encode, portrait, "all", config.window.window)
    session = pipeline.open_session(PICTURE)
    session.push(noise_3s[:num_samples])
    session.flush()
    features = session.snapshot().latents.features
    num_latents = features.num_latents_ready

    heard: dict[int, tuple[Tensor, Tensor]] = {}

    def velocity(latents: Tensor, step: int, start: int) -> Tensor:
        if start not in heard:
            heard[start] = features.take(start, start + latents.shape[2])
        conditions = networks.conditions(reference.layout(latents.shape[2]), *heard[start])
        return networks.velocity(latents, schedule.sigmas[step], schedule.timesteps[step], conditions)

    noise = window_noise(0, 0, num_latents, (8, 8, 8))[None]
    with torch.inference_mode():
        latents = offline_loop(noise, schedule, config.window, velocity)
    video = (networks.decode(latents, None)[0] * 255).round().permute(0, 2, 3, 1).numpy()
    # One level at most: a value on the edge between two levels may be rounded either way.
    assert np.abs(video[: len(live)] - live).max() <= 1
    assert live.std() > 1


@given(st.lists(st.integers(0, 48_000), max_size=6))
@settings(max_examples=6)
def test_full_lookahead_is_the_same_in_any_pieces(released_pipeline: Pipeline, noise_3s: Samples, cuts: list[int]):
    whole = run(released_pipeline, [noise_3s[:24_000]], profile="offline")
    cut = run(released_pipeline, np.split(noise_3s[:24_000], sorted(c // 2 for c in cuts)), profile="offline")
    assert np.array_equal(cut, whole)


def test_lookahead_is_taken_where_the_sound_is_here_and_never_waited_for(tiny_pipeline: Pipeline, noise_3s: Samples):
    """Profile `tts`: all sound at once gives the two-sided loop, sound as it is spoken the frames of no look-ahead."""
    tts = tiny_pipeline.config.profile("tts")
    one_sided, two_sided = replace(tts, lookahead=0), replace(tts, patience="wait")
    live = np.split(noise_3s, range(640, len(noise_3s), 640))
    offline = run(tiny_pipeline, [noise_3s], profile=two_sided)
    assert np.array_equal(run(tiny_pipeline, [noise_3s], profile=tts, pull_between=False), offline)
    # The last windows are short, and by then all sound is known.
    spoken = run(tiny_pipeline, live, profile=tts)[:60]
    assert np.array_equal(spoken, run(tiny_pipeline, live, profile=one_sided)[:60])
    assert not np.array_equal(spoken, offline[:60])


def test_the_profile_changes_between_two_windows(tiny_pipeline: Pipeline, noise_3s: Samples):
    """Frames go on without a gap, and what came before the change is as it was."""
    small = Profile(WindowConfig(window=3, overlap=2, ramp="open", fuse_first_step=True, settle=0))
    unchanged = run(tiny_pipeline, [noise_3s], profile="offline")
    session = tiny_pipeline.open_session(PICTURE, profile="offline")
    session.push(noise_3s[:24_000])
    before = pull_all(session)
    session.change_profile(small)
    frames = before + pull_all(session)
    session.push(noise_3s[24_000:])
    frames += pull_all(session)
    session.change_profile(tiny_pipeline.config.profile("mic"))
    session.flush()
    frames += pull_all(session)
    assert session.finished
    assert [frame.pts for frame in frames] == list(range(75))
    assert len(before) > 10
    assert np.array_equal(np.stack([frame.image for frame in before]), unchanged[: len(before)])


def test_a_profile_of_other_steps_goes_on_from_the_nearest_noise_level(tiny_pipeline: Pipeline, noise_3s: Samples):
    more = replace(tiny_pipeline.config.profile("mic"), sampler=SamplerConfig(num_steps=4, shift=3.0))
    session = tiny_pipeline.open_session(PICTURE)
    session.push(noise_3s)
    frames = session.pull()
    session.change_profile(more)
    session.flush()
    frames += pull_all(session)
    assert [frame.pts for frame in frames] == list(range(75))


def test_a_profile_that_looks_further_ahead_than_it_has_steps_is_refused(tiny_pipeline: Pipeline):
    with pytest.raises(BadSetting, match="below the number of steps"):
        tiny_pipeline.open_session(PICTURE, profile=Profile(WindowConfig(window=4, overlap=2), lookahead=2))


class TestMisuse:
    @pytest.fixture
    def session(self, tiny_pipeline: Pipeline) -> Session:
        return tiny_pipeline.open_session(PICTURE)

    @pytest.mark.parametrize(
        ("sound", "reason"),
        [
            (np.zeros((2, 100), np.float32), "mono"),
            (np.zeros(100, np.int16), "int16"),
            (np.array([0.0, np.nan], np.float32), "NaN"),
            (np.array([np.inf], np.float32), "NaN or infinite"),
            (np.zeros(16_000 * 601, np.float32), "pull frames"),
        ],
        ids=["stereo", "int16", "nan", "inf", "too much"],
    )
    def test_unusable_sound_is_refused_and_leaves_the_session_as_it_was(
        self, session: Session, sound: np.ndarray, reason: str
    ):
        with pytest.raises(BadAudio, match=reason) as caught:
            session.push(sound)
        assert "\n" not in str(caught.value)
        session.push(np.zeros(640, np.float32))
        session.flush()
        assert len(session.pull()) == 1

    def test_sound_that_waits_is_bounded_but_a_stream_is_not(self, session: Session):
        minute = np.zeros(16_000 * 60, np.float32)
        for _ in range(10):
            session.push(minute)
        with pytest.raises(BadAudio, match="600 s"):
            session.push(minute[:1])
        session.pull()
        session.push(minute[:1])

    def test_loud_sound_is_clipped(self, session: Session):
        session.push(np.array([3.0, -3.0, 0.5]))
        assert session.snapshot().latents.features.samples.read(0, 3).tolist() == [1, -1, 0.5]

    def test_no_sound_after_the_flush_and_a_second_flush_is_nothing(self, session: Session):
        session.push(np.zeros(640, np.float32))
        session.flush()
        session.flush()
        with pytest.raises(SessionClosed, match="after its flush"):
            session.push(np.zeros(640, np.float32))

    def test_a_closed_session_refuses_everything_but_another_close(self, session: Session):
        session.close()
        session.close()
        for use in (session.pull, session.flush, session.snapshot, lambda: session.push(np.zeros(1, np.float32))):
            with pytest.raises(SessionClosed, match="open a new one"):
                use()

    def test_a_block_closes_it_at_its_end(self, session: Session):
        with session as opened:
            assert opened is session
            opened.push(np.zeros(640, np.float32))
        with pytest.raises(SessionClosed):
            session.pull()


LIVE = Profile(WindowConfig(window=3, overlap=2, ramp="open", fuse_first_step=True, settle=0))


def interrupted(pipeline: Pipeline, sound: Samples, frame: int, after: Samples, profile: ProfileName | Profile = LIVE):
    """Frames of a session that hears `sound`, is interrupted at `frame`, hears `after`; and where it went on."""
    session = pipeline.open_session(PICTURE, profile=profile, interruptible=True)
    session.push(sound)
    before = pull_all(session)
    start = session.interrupt(frame)
    session.push(after)
    session.flush()
    again = pull_all(session)
    assert [image.pts for image in again] == list(range(start, start + len(again)))
    return np.stack([image.image for image in before[:start] + again]), start


@pytest.mark.parametrize("frame", [0, 14, 17, 200])
def test_an_interruption_takes_back_frames_and_sound_and_nothing_else(
    tiny_pipeline: Pipeline, noise_3s: Samples, frame: int
):
    """It goes back to a window's end; the same sound from there on makes the same frames.

    But for a rounding or two: the encoder hears the 80 ms around the cut in another run.
    """
    uninterrupted = run(tiny_pipeline, [noise_3s], profile=LIVE)
    session = tiny_pipeline.open_session(PICTURE, profile=LIVE, interruptible=True)
    session.push(noise_3s)
    pull_all(session)
    start = session.interrupt(frame)
    assert start <= frame < start + 4 or frame == 200
    images, _ = interrupted(tiny_pipeline, noise_3s, frame, noise_3s[start * 640 :])
    assert np.array_equal(images[:start], uninterrupted[:start])
    assert np.abs(images.astype(int) - uninterrupted).max() <= 2


@pytest.mark.parametrize("profile", [LIVE, "offline", Profile(LIVE.window, lookahead=1)])
def test_what_was_unsaid_is_nowhere_in_what_follows(
    tiny_pipeline: Pipeline, noise_3s: Samples, profile: ProfileName | Profile
):
    """Whatever sound was taken back, the frames after the interruption are those of the sound that came instead."""
    heard, silence = noise_3s[:32_000], np.zeros(20_000, np.float32)
    other = np.concatenate([heard, -noise_3s[32_000:]])
    one, start = interrupted(tiny_pipeline, noise_3s, 24, silence, profile)
    assert start <= 24
    same, _ = interrupted(tiny_pipeline, other, 24, silence, profile)
    assert np.array_equal(one, same)
    spoken, _ = interrupted(tiny_pipeline, noise_3s, 24, noise_3s[start * 640 :][:20_000], profile)
    assert not np.array_equal(one[start + 8 :], spoken[start + 8 :])


def test_a_flush_is_taken_back_too(tiny_pipeline: Pipeline, noise_3s: Samples):
    session = tiny_pipeline.open_session(PICTURE, profile=LIVE, interruptible=True)
    session.push(noise_3s)
    session.flush()
    pull_all(session)
    assert session.finished
    start = session.interrupt(40)
    session.push(noise_3s)
    assert not session.finished
    assert pull_all(session)[0].pts == start


def test_what_was_seen_is_not_kept(tiny_pipeline: Pipeline, noise_3s: Samples):
    """Frames that the viewer has seen stand: an interruption before them goes back to the last window's end there."""
    session = tiny_pipeline.open_session(PICTURE, profile=LIVE, interruptible=True)
    session.push(noise_3s)
    pull_all(session)
    session.seen(31)
    assert 27 < session.interrupt(0) <= 31


def test_an_interruption_after_a_restored_snapshot_leads_back_to_it(tiny_pipeline: Pipeline, noise_3s: Samples):
    """What was shown before the snapshot belongs to another course of the session."""
    session = tiny_pipeline.open_session(PICTURE, profile=LIVE, interruptible=True)
    session.push(noise_3s[:24_000])
    pull_all(session)
    state = session.snapshot()
    session.push(noise_3s[24_000:])
    pull_all(session)
    session.restore(state)
    session.push(-noise_3s[24_000:])
    frames = pull_all(session)
    assert session.interrupt(frames[5].pts) in range(frames[0].pts, frames[6].pts)
    assert session.interrupt(0) == state.num_frames_shown


def test_frames_begun_are_the_frames_pulled(tiny_pipeline: Pipeline, noise_3s: Samples, whole: np.ndarray):
    """Two sessions begin before either waits for its frames; each gets its own, and nothing where there is no sound."""
    one, other = tiny_pipeline.open_session(PICTURE), tiny_pipeline.open_session(PICTURE, seed=1)
    images: list[np.ndarray] = []
    for session in (one, other):
        session.push(noise_3s)
    while (ours := one.begin()).num_frames:
        theirs = other.begin()
        images += [frame.image for frame in ours.frames()]
        assert theirs.first == ours.first
        assert len(theirs.frames()) == len(ours.frames())
    assert ours.frames() == []
    assert len(images) > 40
    assert np.array_equal(np.stack(images), whole[: len(images)])


@pytest.mark.parametrize("copies", [False, True], ids=["shared", "through the host"])
def test_an_interruption_between_two_kept_states_shows_the_same(
    tiny_pipeline: Pipeline, noise_3s: Samples, monkeypatch: pytest.MonkeyPatch, copies: bool
):
    """Of a large decoder's state few are kept; what lies between is decoded once more, to the last bit.

    So too where what is kept was copied to the host, as it is from a GPU.
    """
    expected = [interrupted(tiny_pipeline, noise_3s, frame, noise_3s) for frame in (14, 33)]
    monkeypatch.setattr(session_module, "StreamDecoder", partial(StreamDecoder, small_bytes=0))
    if copies:
        monkeypatch.setattr(session_module, "Offload", partial(Offload, copies=True))
    again = [interrupted(tiny_pipeline, noise_3s, frame, noise_3s) for frame in (14, 33)]
    for (images, start), (same, same_start) in zip(expected, again, strict=True):
        assert start == same_start
        assert np.array_equal(images, same)


def test_an_interruption_beyond_the_memory_for_points_goes_back_to_the_oldest(
    tiny_pipeline: Pipeline, noise_3s: Samples, monkeypatch: pytest.MonkeyPatch
):
    """What it shows from there on is what a session without a bound shows that is asked for that frame."""

    def session_of(noise: Samples) -> Session:
        session = tiny_pipeline.open_session(PICTURE, profile=LIVE, interruptible=True)
        session.push(noise)
        pull_all(session)
        return session

    def shown_after(session: Session, frame: int) -> tuple[int, np.ndarray]:
        start = session.interrupt(frame)
        session.push(noise_3s[:20_000])
        return start, np.stack([one.image for one in pull_all(session)])

    free = session_of(noise_3s)
    monkeypatch.setattr(session_module, "Rewind", partial(Rewind, max_bytes=free.num_bytes_of_points // 3))
    bounded = session_of(noise_3s)
    assert 0 < bounded.num_bytes_of_points <= free.num_bytes_of_points // 3
    oldest, images = shown_after(bounded, 0)
    assert oldest > 0
    start, expected = shown_after(free, oldest)
    assert start == oldest
    assert np.array_equal(images, expected)


def test_going_back_twice_through_the_host_is_going_back_twice(
    tiny_pipeline: Pipeline, noise_3s: Samples, monkeypatch: pytest.MonkeyPatch
):
    """A point serves more than once, to the last bit, and no line of latents that it holds is the session's own."""

    def shown() -> tuple[np.ndarray, bool]:
        """Frames of a session that is interrupted three times; whether its points share lines with it."""
        session = tiny_pipeline.open_session(PICTURE, profile=LIVE, interruptible=True)
        session.push(noise_3s)
        frames = pull_all(session)
        for place in (40, 12, 12):
            start = session.interrupt(place)
            session.push(noise_3s[start * 640 :][:20_000])
            frames += pull_all(session)
        assert session._rewind
        present, *kept = (
            {line.latents.data_ptr() for line in state.latents.ring[1].lines if line}
            for state in (session.snapshot(), *(point.state for point in session._rewind._points))
        )
        return np.stack([frame.image for frame in frames]), not present.isdisjoint(set[int]().union(*kept))

    expected, shares = shown()
    assert shares
    monkeypatch.setattr(session_module, "Offload", partial(Offload, copies=True))
    through_host, shares = shown()
    assert not shares
    assert np.array_equal(through_host, expected)
