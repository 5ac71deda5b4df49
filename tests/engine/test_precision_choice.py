"""The self-test that chooses number types: the decision by itself, and the measuring on this machine."""

from __future__ import annotations

import logging
import math
from dataclasses import replace

import pytest
import torch

from avacast.engine.config import ModelConfig
from avacast.engine.pipeline import Pipeline
from avacast.engine.precision import Precision
from avacast.engine.precision_choice import Timing, choose_precision, timings
from avacast.engine.presets import STABLEAVATAR_1_3B


@pytest.mark.parametrize(
    ("float32_ms", "bfloat16_ms", "chosen"),
    [(31, 12, torch.bfloat16), (10, 9, torch.bfloat16), (10, 9.1, torch.float32), (10, 360, torch.float32)],
)
def test_bfloat16_must_be_clearly_faster(float32_ms: float, bfloat16_ms: float, chosen: torch.dtype) -> None:
    """A tenth of the time at least: float32 rounds nothing."""
    assert Timing("transformer", "a block", float32_ms, bfloat16_ms).dtype == chosen


def test_a_timing_says_what_and_why() -> None:
    """The chosen type first, then what the other would have cost."""
    assert str(Timing("transformer", "a block", 31, 12)) == (
        "transformer in bfloat16: 12.0 ms a block against 31.0 ms in float32"
    )
    assert str(Timing("decoder", "a step", 95, 125)) == (
        "decoder in float32: 95.0 ms a step against 125.0 ms in bfloat16"
    )


def test_a_process_measures_once_and_says_so_once(tiny_config: ModelConfig, caplog: pytest.LogCaptureFixture) -> None:
    """All pipelines of a model agree for as long as the process lives, whatever else the machine does."""
    unseen = replace(tiny_config, dit=replace(tiny_config.dit, ffn_dim=tiny_config.dit.ffn_dim + 2))
    with caplog.at_level(logging.INFO, "avacast"):
        first = choose_precision(unseen, "cpu")
        assert choose_precision(replace(unseen, name="another"), "cpu") == first
    (record,) = caplog.records
    transformer, decoder = timings(unseen)
    assert first == Precision(transformer.dtype, decoder.dtype)
    assert str(transformer) in record.getMessage()
    assert str(decoder) in record.getMessage()
    assert all(0 < ms < math.inf for timing in (transformer, decoder) for ms in (timing.float32_ms, timing.bfloat16_ms))


def test_the_test_leaves_the_number_of_threads_as_it_was(tiny_config: ModelConfig) -> None:
    """It runs on one thread, the pipeline on as many as it was given."""
    torch.set_num_threads(2)
    try:
        timings(replace(tiny_config, dit=replace(tiny_config.dit, ffn_dim=tiny_config.dit.ffn_dim + 4)))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_a_pipeline_runs_in_the_chosen_precision(tiny_config: ModelConfig) -> None:
    """Unless the caller names one."""
    assert Pipeline.with_random_weights(tiny_config).networks.precision == choose_precision(tiny_config, "cpu")
    other = Precision(torch.bfloat16, torch.float32)
    assert Pipeline.with_random_weights(tiny_config, dtype=other).networks.precision == other


def test_the_released_layout_can_be_timed(released_config: ModelConfig) -> None:
    """Text and picture are not needed for it, and the Wan decoder is timed on little."""
    config = replace(released_config, vae=replace(STABLEAVATAR_1_3B.vae, base_dim=8), live_vae=None)
    assert choose_precision(config, "cpu").dit in (torch.float32, torch.bfloat16)


def test_an_accelerator_runs_in_bfloat16_without_a_test(
    tiny_config: ModelConfig, caplog: pytest.LogCaptureFixture
) -> None:
    """It multiplies it in hardware."""
    with caplog.at_level(logging.INFO, "avacast"):
        assert choose_precision(tiny_config, "cuda") == Precision.of(torch.bfloat16)
    assert not caplog.records
