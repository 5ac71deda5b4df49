"""The speech encoder's own way through wav2vec2's front end."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from avacast.engine.config import AudioConfig
from avacast.engine.presets import POCKET
from avacast.engine.speech_encoder import SpeechEncoder


def _audio(**changes: object) -> AudioConfig:
    return replace(POCKET.audio, wav2vec2={**POCKET.audio.wav2vec2, "num_hidden_layers": 1, **changes})


@pytest.mark.parametrize("num_samples", [400, 401, 719, 720, 5000])
@pytest.mark.parametrize("bias", [False, True])
def test_the_front_end_is_that_of_transformers(num_samples: int, bias: bool):
    """Without gradients on a CPU the convolutions are products of their taps, with the same tokens up to rounding."""
    torch.manual_seed(0)
    encoder = SpeechEncoder(_audio(conv_bias=bias)).eval()
    waveform = torch.randn(2, num_samples) * 0.1
    expected = encoder.wav2vec2(waveform).last_hidden_state
    with torch.no_grad():
        actual = encoder(waveform)
    assert actual.shape == (2, (num_samples - 400) // 320 + 1, encoder.dim)
    assert (actual - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize("changes", [{"feat_extract_norm": "group"}, {"feat_extract_activation": "relu"}])
def test_another_front_end_is_left_to_transformers(changes: dict[str, str]):
    """A norm over time, as wav2vec2-base has it, or another activation: transformers' own code, exactly."""
    torch.manual_seed(0)
    encoder = SpeechEncoder(_audio(**changes)).eval()
    waveform = torch.randn(1, 2000) * 0.1
    with torch.no_grad():
        assert torch.equal(encoder(waveform), encoder.wav2vec2(waveform).last_hidden_state)
