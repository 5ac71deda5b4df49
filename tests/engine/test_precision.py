"""How number types are named, and what they mean for the networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from avacast.engine.config import ModelConfig
from avacast.engine.errors import BadSetting
from avacast.engine.networks import Networks
from avacast.engine.pipeline import Pipeline
from avacast.engine.precision import Precision

MIXED = Precision(torch.bfloat16, torch.float32)


@pytest.mark.parametrize("text", ["float32", "bfloat16", "bfloat16/float32", "float32/float16"])
def test_what_is_written_is_read_again(text: str) -> None:
    """A recording names the precision, and the command line takes the same words."""
    assert str(Precision.parse(text)) == text


def test_equal_types_have_one_name() -> None:
    """Asking for the same type twice is asking for that type."""
    assert Precision.parse("float32/float32") == Precision.of(torch.float32)
    assert str(Precision.parse("float32/float32")) == "float32"


@pytest.mark.parametrize("text", ["", "int8", "torch.float32", "float32/", "bfloat16/auto", "float32/float32/float32"])
def test_other_words_are_refused_in_one_line(text: str) -> None:
    """The message shows what was said and what can be said."""
    with pytest.raises(BadSetting, match="bfloat16/float32") as caught:
        Precision.asked(text)
    assert repr(text) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_auto_leaves_the_choice_to_the_machine() -> None:
    """It is no precision by itself."""
    assert Precision.asked("auto") is None
    assert Precision.asked("bfloat16") == Precision.of(torch.bfloat16)


def test_each_network_gets_its_own_type(tiny_config: ModelConfig) -> None:
    """The networks tell afterwards what they run in; the speech encoder is never rounded."""
    networks = Networks.build(tiny_config).for_inference("cpu", MIXED)
    assert {p.dtype for p in networks.dit.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in networks.vae.parameters()} == {torch.float32}
    assert {p.dtype for p in networks.speech_encoder.parameters()} == {torch.float32}
    assert networks.precision == MIXED


@pytest.mark.parametrize("precision", [MIXED, Precision(torch.float32, torch.bfloat16)])
def test_a_mixed_model_shows_nearly_what_float32_shows(tiny_config: ModelConfig, precision: Precision) -> None:
    """Latents and reference pass between the two types without a word from the session."""
    frames: list[np.ndarray] = []
    for dtype in (torch.float32, precision):
        pipeline = Pipeline.with_random_weights(tiny_config, dtype=dtype)
        session = pipeline.open_session(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8))
        session.push(0.1 * np.random.default_rng(2).standard_normal(16_000).astype(np.float32))
        session.flush()
        images: list[np.ndarray] = []
        while not session.finished:
            images += [frame.image for frame in session.pull()]
        frames.append(np.stack(images))
    exact, mixed = frames
    assert 0 < np.abs(exact.astype(int) - mixed).mean() < 3
    assert str(precision) in Pipeline.with_random_weights(tiny_config, dtype=precision).describe()
