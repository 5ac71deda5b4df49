from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from avacast.engine.audio_features import (
    Features,
    FeatureStream,
    SpeechEncoder,
    WindowFeatures,
    encode,
    encode_clip,
    open_features,
)
from avacast.engine.audio_split import stream_split, window_split
from avacast.engine.config import POCKET, ModelConfig
from avacast.engine.sample_tail import Samples

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
    config = replace(tiny_config, window=replace(tiny_config.window, window=5, overlap=3))
    features = open_features(tiny_encoder, config)
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
