from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from avacast.engine import audio_features
from avacast.engine.audio_features import Features, FeatureStream, WindowFeatures, encode_clip, open_features
from avacast.engine.audio_split import stream_split, window_split
from avacast.engine.config import ModelConfig
from avacast.engine.presets import POCKET
from avacast.engine.sample_tail import Samples
from avacast.engine.speech_encoder import SILENCE_PEAK, SpeechEncoder, encode

HOP = 2
NUM_LATENTS = 19  # three seconds


def stream(config: ModelConfig, encoder: SpeechEncoder) -> FeatureStream:
    return FeatureStream(encoder, config.audio, hop=HOP)


def take_by_hops(features: Features, pieces: list[Samples]) -> Tensor:
    """Pushes piece by piece and takes every hop as soon as it is ready; `[F, A, D]` with padding, after a flush."""
    taken: list[Tensor] = []
    done = 0

    def take_ready() -> None:
        nonlocal done
        while done < min(NUM_LATENTS, features.num_latents_ready):
            stop = min(done + HOP, NUM_LATENTS, features.num_latents_ready)
            taken.append(features.take(done, stop)[0])
            done = stop

    for piece in pieces:
        features.push(piece)
        take_ready()
    features.flush()
    take_ready()
    return torch.cat(taken)


def cut(samples: Samples, size: int) -> list[Samples]:
    return [samples[i : i + size] for i in range(0, len(samples), size)]


@pytest.mark.parametrize("size", [1, 7, 320, 641, 5_000, 48_000])
def test_chunked_equals_whole(tiny_config: ModelConfig, tiny_encoder: SpeechEncoder, noise_3s: Samples, size: int):
    """Features are identical, to the last bit, however the sound is cut."""
    whole, _ = encode_clip(tiny_encoder, tiny_config.audio, noise_3s, NUM_LATENTS, hop=HOP)
    assert torch.equal(take_by_hops(stream(tiny_config, tiny_encoder), cut(noise_3s, size)), whole)
    assert whole[0].abs().max() > 0.01


@given(cuts=st.lists(st.integers(0, 48_000), max_size=8))
@settings(max_examples=20)
def test_chunked_equals_whole_at_any_cuts(
    tiny_config: ModelConfig, tiny_encoder: SpeechEncoder, noise_3s: Samples, cuts: list[int]
):
    whole, _ = encode_clip(tiny_encoder, tiny_config.audio, noise_3s, NUM_LATENTS, hop=HOP)
    pieces = np.split(noise_3s, sorted(cuts))
    assert torch.equal(take_by_hops(stream(tiny_config, tiny_encoder), pieces), whole)


def test_overlapping_windows_see_the_same_tokens(
    tiny_config: ModelConfig, tiny_encoder: SpeechEncoder, noise_3s: Samples
):
    features = stream(tiny_config, tiny_encoder)
    features.push(noise_3s)
    first, first_mask = features.take(0, 6)
    second, second_mask = features.take(2, 8)
    assert torch.equal(first[2:], second[:4])
    assert torch.equal(first_mask[2:], second_mask[:4])


def test_before_the_stream_there_are_no_tokens(
    tiny_config: ModelConfig, tiny_encoder: SpeechEncoder, noise_3s: Samples
):
    audio, mask = encode_clip(tiny_encoder, tiny_config.audio, noise_3s, NUM_LATENTS, hop=HOP)
    margin = tiny_config.audio.margin
    assert torch.equal(mask, stream_split(0, NUM_LATENTS, margin) >= 0)
    assert not mask[0, : 6 + margin].any()
    assert mask[2:].all()
    assert torch.equal(audio[~mask], torch.zeros_like(audio[~mask]))


def test_a_latent_frame_hears_nothing_beyond_its_run_and_right_context(
    tiny_config: ModelConfig, tiny_encoder: SpeechEncoder, noise_3s: Samples
):
    """The delay is fixed: once latents are ready, later sound cannot change them, and earlier they are not ready."""
    config = tiny_config.audio
    features = stream(tiny_config, tiny_encoder)
    last_token = 8 * (3 * HOP - 1) + 1 + config.margin + config.right_context_tokens
    num_needed = 320 * last_token + 400
    features.push(noise_3s[: num_needed - 1])
    assert features.num_latents_ready == 2 * HOP
    features.push(noise_3s[num_needed - 1 : num_needed])
    assert features.num_latents_ready == 3 * HOP
    changed = np.concatenate([noise_3s[:num_needed], -noise_3s[num_needed:]])
    whole = encode_clip(tiny_encoder, config, noise_3s, NUM_LATENTS, hop=HOP)[0]
    other = encode_clip(tiny_encoder, config, changed, NUM_LATENTS, hop=HOP)[0]
    assert torch.equal(features.take(0, 3 * HOP)[0], whole[: 3 * HOP])
    assert torch.equal(other[: 3 * HOP], whole[: 3 * HOP])
    assert not torch.equal(other[3 * HOP :], whole[3 * HOP :])


def test_a_shorter_first_run_lets_windows_of_any_length_end_where_runs_end(
    tiny_config: ModelConfig, tiny_encoder: SpeechEncoder, noise_3s: Samples
):
    features = open_features(tiny_encoder, tiny_config, replace(tiny_config.window, window=5, overlap=3))
    ready: set[int] = set()
    for piece in cut(noise_3s, 160):
        features.push(piece)
        ready.add(features.num_latents_ready)
    assert sorted(ready) == [0, 1, 3, 5, 7, 9, 11, 13, 15, 17]


def test_flushing_pads_with_silence_to_the_last_video_frame(
    tiny_config: ModelConfig, tiny_encoder: SpeechEncoder, noise_3s: Samples
):
    features = stream(tiny_config, tiny_encoder)
    features.push(noise_3s[:30_000])
    features.flush()
    assert features.num_latents_ready == 13  # 46.9 video frames: one latent for the first, then four to each
    padded = np.concatenate([noise_3s[:30_000], np.zeros(18_000, np.float32)])
    whole = encode_clip(tiny_encoder, tiny_config.audio, padded, 13, hop=HOP)[0]
    assert torch.equal(features.take(0, 13)[0], whole)


def test_memory_is_bounded(tiny_config: ModelConfig, tiny_encoder: SpeechEncoder, noise_3s: Samples):
    features = stream(tiny_config, tiny_encoder)
    kept: list[tuple[int, int]] = []
    done = 0
    for _ in range(6):
        features.push(noise_3s)
        while features.num_latents_ready >= done + HOP:
            features.take(done, done + HOP)
            done += HOP
            features.release(done)
        kept.append((sum(len(piece) for piece in features.samples.pieces), len(features._tokens)))
    left_context = tiny_config.audio.left_context_s * 16_000
    assert all(samples < left_context + 320 * 8 * 2 * HOP for samples, _ in kept)
    assert all(tokens <= 8 * HOP + 2 * tiny_config.audio.margin for _, tokens in kept)


def test_a_copy_goes_on_by_itself(tiny_config: ModelConfig, tiny_encoder: SpeechEncoder, noise_3s: Samples):
    features = stream(tiny_config, tiny_encoder)
    features.push(noise_3s[:20_000])
    features.take(0, 4)
    twin = features.copy()
    twin.push(np.zeros(28_000, np.float32))
    twin.take(4, 10)
    features.push(noise_3s[20_000:])
    whole = encode_clip(tiny_encoder, tiny_config.audio, noise_3s, NUM_LATENTS, hop=HOP)[0]
    assert torch.equal(features.take(4, 10)[0], whole[4:10])


def test_taking_what_is_not_ready_or_forgotten_is_a_broken_contract(
    tiny_config: ModelConfig, tiny_encoder: SpeechEncoder, noise_3s: Samples
):
    features = stream(tiny_config, tiny_encoder)
    features.push(noise_3s[:10_000])
    with pytest.raises(AssertionError, match="4 latents of 2 ready"):
        features.take(0, 4)
    features.push(noise_3s[10_000:])
    features.take(6, 8)
    features.release(6)
    with pytest.raises(AssertionError, match="latent frame 2 is forgotten"):
        features.take(2, 4)


def test_cached_features_may_enter_a_loss(tiny_config: ModelConfig, tiny_encoder: SpeechEncoder, noise_3s: Samples):
    audio, _ = encode_clip(tiny_encoder, tiny_config.audio, noise_3s, 2, hop=HOP)
    weight = torch.ones(audio.shape[-1], requires_grad=True)
    (audio * weight).sum().backward()
    assert weight.grad is not None


@pytest.fixture(scope="module")
def pocket() -> SpeechEncoder:
    torch.manual_seed(0)
    return SpeechEncoder(POCKET.audio).eval()


@pytest.fixture(scope="module")
def gap(noise_3s: Samples) -> Samples:
    """Half a second of sound, two of digital silence, half a second of sound."""
    sound = noise_3s.copy()
    sound[8_000:40_000] = 0
    return sound


class TestSilence:
    @given(cuts=st.lists(st.integers(0, 48_000), max_size=8))
    @settings(max_examples=20)
    def test_chunked_equals_whole_around_a_gap(
        self, tiny_config: ModelConfig, tiny_encoder: SpeechEncoder, gap: Samples, cuts: list[int]
    ):
        """Whether a run is left out depends on the position and the sound, never on how it was cut."""
        whole, _ = encode_clip(tiny_encoder, tiny_config.audio, gap, NUM_LATENTS, hop=HOP)
        assert torch.equal(take_by_hops(stream(tiny_config, tiny_encoder), np.split(gap, sorted(cuts))), whole)

    @pytest.mark.parametrize("size", [1, 641, 48_000])
    def test_chunked_equals_whole_around_a_gap_in_equal_pieces(
        self, tiny_config: ModelConfig, tiny_encoder: SpeechEncoder, gap: Samples, size: int
    ):
        whole, _ = encode_clip(tiny_encoder, tiny_config.audio, gap, NUM_LATENTS, hop=HOP)
        assert torch.equal(take_by_hops(stream(tiny_config, tiny_encoder), cut(gap, size)), whole)

    def test_runs_that_hear_only_silence_are_the_steady_token_and_no_others(
        self, tiny_config: ModelConfig, tiny_encoder: SpeechEncoder, gap: Samples
    ):
        """A run is left out once its left context is silent too, and computed again before the sound comes back."""
        audio, mask = encode_clip(tiny_encoder, tiny_config.audio, gap, NUM_LATENTS, hop=HOP)
        index = stream_split(0, NUM_LATENTS, tiny_config.audio.margin)
        cached = (audio == tiny_encoder.silence).all(dim=-1) & mask
        # Runs end at the tokens 14, 30, 46, ...: from 62 - 25 on, and up to 110 + 4, there is no sound.
        assert index[cached].unique().tolist() == list(range(62, 110))
        assert not torch.isin(index[mask & ~cached], index[cached]).any()

    def test_nothing_is_computed_in_silence(self, tiny_config: ModelConfig, gap: Samples):
        """The encoder runs once for its steady state, whatever the number of sessions and of silent runs."""
        encoder = SpeechEncoder(tiny_config.audio).eval()
        num_runs = 0

        def count(*_: object) -> None:
            nonlocal num_runs
            num_runs += 1

        encoder.register_forward_hook(count)
        for _ in range(3):
            features = stream(tiny_config, encoder)
            features.push(np.zeros(160_000, np.float32))
            features.take(0, 40)
        assert num_runs == 1
        encode_clip(encoder, tiny_config.audio, gap, 2 * HOP, hop=HOP)
        assert num_runs == 3

    @pytest.mark.parametrize(("peak", "is_cached"), [(SILENCE_PEAK, True), (1.01 * SILENCE_PEAK, False)])
    def test_silence_ends_at_the_threshold_of_either_sign(
        self, tiny_config: ModelConfig, tiny_encoder: SpeechEncoder, peak: float, is_cached: bool
    ):
        for sign in (-1, 1):
            hum = np.zeros(16_000, np.float32)
            hum[3_000] = sign * np.float32(peak)
            audio, mask = encode_clip(tiny_encoder, tiny_config.audio, hum, HOP, hop=HOP)
            assert bool((audio[mask] == tiny_encoder.silence).all()) == is_cached

    def test_a_silent_start_and_end_are_cached_too(
        self, tiny_config: ModelConfig, tiny_encoder: SpeechEncoder, noise_3s: Samples
    ):
        features = stream(tiny_config, tiny_encoder)
        features.push(np.zeros(16_000, np.float32))
        features.push(noise_3s[:4_000])
        features.flush()
        first, first_mask = features.take(0, HOP)
        assert torch.equal(first[first_mask], tiny_encoder.silence.expand(int(first_mask.sum()), -1))
        last, _ = features.take(14, 16)  # beyond the end of the sound
        assert torch.equal(last, tiny_encoder.silence.expand_as(last))

    def test_the_steady_state_is_that_of_long_silence(self, pocket: SpeechEncoder):
        """Beside the edges of a run every token of silence is the same, and near the steady one for any length."""
        tokens = encode(pocket, np.zeros(48_000, np.float32))[8:-8]
        torch.testing.assert_close(tokens, tokens[:1].expand_as(tokens), rtol=1e-4, atol=1e-4)
        assert (tokens[0] - pocket.silence).norm() < 0.02 * pocket.silence.norm()

    def test_other_weights_have_another_silence(self, tiny_config: ModelConfig):
        encoder = SpeechEncoder(tiny_config.audio).eval()
        before = encoder.silence
        assert encoder.silence is before
        encoder.load_state_dict({name: 1.1 * value for name, value in encoder.state_dict().items()})
        loaded = encoder.silence
        assert not torch.equal(loaded, before)
        with torch.no_grad():
            encoder.wav2vec2.encoder.layer_norm.bias.add_(1)
        encoder.eval()
        assert not torch.equal(encoder.silence, loaded)
        assert not any("silence" in name for name in encoder.state_dict())

    def test_a_silence_first_heard_by_a_session_may_enter_a_loss(self, tiny_config: ModelConfig):
        encoder = SpeechEncoder(tiny_config.audio).eval().requires_grad_(False)
        with torch.inference_mode():
            encode_clip(encoder, tiny_config.audio, np.zeros(16_000, np.float32), 2, hop=HOP)
        audio, _ = encode_clip(encoder, tiny_config.audio, np.zeros(16_000, np.float32), 2, hop=HOP)
        weight = torch.ones(audio.shape[-1], requires_grad=True)
        (audio * weight).sum().backward()
        assert weight.grad is not None


class TestRealign:
    """A change of window and hop in mid-stream."""

    def test_what_was_computed_stays_and_what_follows_has_the_new_grid(
        self, tiny_config: ModelConfig, tiny_encoder: SpeechEncoder, noise_3s: Samples
    ):
        """As if the runs' ends had been written down from the start: 2, 4, 6, then 7, 10, 13, 16."""
        features = stream(tiny_config, tiny_encoder)
        features.push(noise_3s)
        before, _ = features.take(0, 6)
        features.realign(7, 3)
        after, _ = features.take(4, 16)
        whole, _ = encode_clip(tiny_encoder, tiny_config.audio, noise_3s, NUM_LATENTS, hop=HOP)
        assert torch.equal(before, whole[:6])
        assert torch.equal(after[:2], whole[4:6])
        tokens = by_runs(tiny_config, tiny_encoder, noise_3s, [2, 4, 6, 7, 10, 13, 16])
        index = stream_split(6, 10, tiny_config.audio.margin)
        assert torch.equal(after[2:], tokens[index])

    @given(data=st.data())
    @settings(max_examples=20)
    def test_any_grid_after_any_other_leaves_no_gap(
        self, tiny_config: ModelConfig, tiny_encoder: SpeechEncoder, gap: Samples, data: st.DataObject
    ):
        """Tokens are those of the runs as they came, however the sound is cut and the grid changed, a gap included."""
        pieces = np.split(gap, sorted(data.draw(st.lists(st.integers(0, 48_000), max_size=4))))
        features, stops, done = stream(tiny_config, tiny_encoder), [0], 0
        hop, first = HOP, HOP
        for piece in pieces:
            features.push(piece)
            ready = features.num_latents_ready
            assert ready >= done
            if ready > done:
                taken, _ = features.take(done, ready)
                stops += range(first, ready + 1, hop)
                assert stops[-1] == ready
                tokens = by_runs(tiny_config, tiny_encoder, gap, stops[1:])
                index = stream_split(done, ready - done, tiny_config.audio.margin)
                assert torch.equal(taken, tokens[index.clamp(min=0)] * (index >= 0)[..., None])
                done = ready
            hop = data.draw(st.integers(1, 4))
            first = done + data.draw(st.integers(1, 5))
            features.realign(first, hop)

    def test_a_grid_that_began_before_is_entered_at_its_next_end(
        self, tiny_config: ModelConfig, tiny_encoder: SpeechEncoder, noise_3s: Samples
    ):
        ready: list[int] = []
        for first in (1, 4, 7, 10):
            features = stream(tiny_config, tiny_encoder)
            features.push(noise_3s[:24_000])
            features.take(0, 4)
            features.realign(first, 3)
            assert features._num_encoded == 4
            features.push(noise_3s[24_000:28_000])
            features.take(4, 5)
            ready.append(features._num_encoded)
        assert ready == [7, 7, 7, 10]

    def test_a_copy_keeps_its_own_grid(self, tiny_config: ModelConfig, tiny_encoder: SpeechEncoder, noise_3s: Samples):
        features = stream(tiny_config, tiny_encoder)
        features.push(noise_3s)
        features.take(0, 4)
        twin = features.copy()
        twin.realign(5, 1)
        again = twin.copy()
        whole, _ = encode_clip(tiny_encoder, tiny_config.audio, noise_3s, NUM_LATENTS, hop=HOP)
        assert torch.equal(again.take(4, 10)[0], twin.take(4, 10)[0])
        assert torch.equal(features.take(4, 10)[0], whole[4:10])

    def test_after_the_end_of_the_sound(self, tiny_config: ModelConfig, tiny_encoder: SpeechEncoder, noise_3s: Samples):
        features = stream(tiny_config, tiny_encoder)
        features.push(noise_3s)
        features.take(0, 14)
        features.flush()
        features.realign(15, 4)
        padded = np.pad(noise_3s, (0, 16_000))
        tokens = by_runs(tiny_config, tiny_encoder, padded, [*range(2, 15, 2), 15, 19])
        index = stream_split(14, 5, tiny_config.audio.margin)
        assert torch.equal(features.take(14, 19)[0], tokens[index])

    def test_windows_by_themselves_have_no_grid(self, tiny_encoder: SpeechEncoder, noise_3s: Samples):
        features = WindowFeatures(tiny_encoder, margin=4, samples_per_frame=640)
        features.push(noise_3s)
        before, _ = features.copy().take(0, 6)
        features.realign(5, 3)
        assert features.num_latents_ready == 18
        assert torch.equal(features.take(0, 6)[0], before)


def by_runs(config: ModelConfig, encoder: SpeechEncoder, sound: Samples, stops: list[int]) -> Tensor:
    """Tokens `[T, D]` of `sound`, encoded in runs that end at the latent frames `stops`: the definition."""
    audio, sound = config.audio, np.pad(sound, (0, 16_000))
    tokens: list[Tensor] = []
    start = 0
    for latent_stop in stops:
        stop = 8 * latent_stop - 6 + audio.margin
        context = max(0, start - round(50 * audio.left_context_s))
        heard = sound[320 * context : 320 * (stop + audio.right_context_tokens - 1) + 400]
        if np.abs(heard).max() <= SILENCE_PEAK:
            tokens.append(encoder.silence.expand(stop - start, -1))
        else:
            tokens.append(encode(encoder, heard)[start - context : stop - context])
        start = stop
    return torch.cat(tokens)


class TestSpeechEncoder:
    def test_a_token_is_made_of_its_400_samples_and_no_others(self, pocket: SpeechEncoder, noise_3s: Samples):
        """Holds for the convolutions: no statistic over time enters, which would tie a token to the whole clip."""
        front_end = pocket.wav2vec2.feature_extractor
        waveform = torch.from_numpy(noise_3s[:8_000])[None].requires_grad_()
        front_end(waveform)[0, :, 10].square().sum().backward()
        assert waveform.grad is not None
        heard = waveform.grad[0].nonzero()
        assert heard.min() >= 3_200
        assert heard.max() < 3_600
        assert heard.max() - heard.min() > 350

    def test_counts_tokens_and_is_deterministic(self, pocket: SpeechEncoder, noise_3s: Samples):
        tokens = encode(pocket, noise_3s)
        assert tokens.shape == ((48_000 - 400) // 320 + 1, 128)
        assert tokens.dtype == torch.float32
        assert torch.equal(tokens, encode(pocket, noise_3s))

    def test_normalising_makes_the_volume_not_matter(
        self, tiny_config: ModelConfig, tiny_encoder: SpeechEncoder, noise_3s: Samples
    ):
        encoder = SpeechEncoder(replace(tiny_config.audio, normalize=True)).eval()
        encoder.load_state_dict(tiny_encoder.state_dict())
        torch.testing.assert_close(encode(encoder, 5 * noise_3s), encode(encoder, noise_3s), rtol=1e-3, atol=1e-4)
        assert (encode(tiny_encoder, 5 * noise_3s) - encode(tiny_encoder, noise_3s)).abs().max() > 1e-3


class TestWindowAlignment:
    @pytest.fixture
    def features(self, tiny_encoder: SpeechEncoder) -> WindowFeatures:
        return WindowFeatures(tiny_encoder, margin=4, samples_per_frame=640)

    def test_a_window_hears_its_own_sound_stretched_over_its_frames(
        self, features: WindowFeatures, tiny_encoder: SpeechEncoder, noise_3s: Samples
    ):
        features.push(noise_3s)
        assert features.num_latents_ready == 18
        for start in (0, 6, 12):
            audio, mask = features.take(start, start + 6)
            tokens = encode(tiny_encoder, noise_3s[2_560 * start : 2_560 * (start + 6)])
            index, expected_mask = window_split(len(tokens), 21, 4)
            assert torch.equal(mask, expected_mask)
            assert torch.equal(audio, tokens[index] * mask[..., None])

    def test_the_last_window_hears_to_the_end(
        self, features: WindowFeatures, tiny_encoder: SpeechEncoder, noise_3s: Samples
    ):
        features.push(noise_3s[:30_000])
        features.flush()
        assert features.num_latents_ready == 13
        audio, mask = features.take(8, 13)
        tokens = encode(tiny_encoder, noise_3s[20_480:30_000])
        index, _ = window_split(len(tokens), 17, 4)
        assert torch.equal(audio, tokens[index] * mask[..., None])

    def test_a_last_window_shorter_than_a_token_is_filled_up_with_silence(self, features: WindowFeatures):
        features.push(np.ones(10, np.float32))
        features.flush()
        audio, mask = features.take(0, 1)
        assert audio.shape[0] == mask.shape[0] == 1
        assert torch.isfinite(audio).all()

    def test_chunked_equals_whole(self, tiny_encoder: SpeechEncoder, noise_3s: Samples):
        def taken(size: int) -> Tensor:
            features = WindowFeatures(tiny_encoder, 4, 640)
            windows: list[Tensor] = []
            for piece in cut(noise_3s, size):
                features.push(piece)
                while features.num_latents_ready >= 6 * (len(windows) + 1):
                    windows.append(features.take(6 * len(windows), 6 * len(windows) + 6)[0])
            return torch.cat(windows)

        whole = taken(48_000)
        assert whole.shape[0] == 18
        assert all(torch.equal(taken(size), whole) for size in (97, 5_120, 20_000))

    def test_what_was_made_beforehand_is_what_is_taken(
        self, tiny_encoder: SpeechEncoder, noise_3s: Samples, monkeypatch: pytest.MonkeyPatch
    ):
        """It is made once and given as it is; sound that is unheard, or ends early, makes it void."""
        lengths: list[int] = []

        def counted(encoder: SpeechEncoder, samples: Samples) -> Tensor:
            lengths.append(len(samples))
            return encode(encoder, samples)

        def taken(pieces: list[Samples], *, prepared: bool) -> Tensor:
            features = WindowFeatures(tiny_encoder, 4, 640)
            features.push(noise_3s[:20_000])
            if prepared:
                features.prepare(2, 7)
            features.unhear(6)
            for piece in pieces:
                features.push(piece)
            features.prepare(20, 25)
            return features.take(2, 7)[0]

        monkeypatch.setattr(audio_features, "encode", counted)
        features = WindowFeatures(tiny_encoder, 4, 640)
        features.push(noise_3s[:20_000])
        features.prepare(2, 7)
        assert torch.equal(features.take(2, 7)[0], features.copy().take(2, 7)[0])
        assert lengths == [5 * 4 * 640]
        assert features.take(1, 6)[0].shape == features.take(2, 7)[0].shape
        assert len(lengths) == 2
        other = [-noise_3s[13_440:30_000]]
        assert torch.equal(taken(other, prepared=True), taken(other, prepared=False))
