"""A short look at a model during training: a line of figures and a strip of pictures."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import torch
from PIL import Image

from avacast.engine.config import VAEConfig
from avacast.engine.pipeline import Pipeline
from avacast.engine.presets import POCKET
from avacast.training.validation import validate


def test_an_untrained_model_is_reported_and_shown(tmp_path: Path) -> None:
    """One line with correlation, lags, amplitude and error; true frames above generated ones, clip by clip."""
    torch.set_num_threads(1)
    config = dataclasses.replace(
        POCKET,
        dit=dataclasses.replace(POCKET.dit, dim=32, ffn_dim=32, num_heads=2, num_layers=1, audio_num_heads=2),
        vae=VAEConfig(decoder_widths=(16, 8, 8, 8), encoder_width=8),
        # Or an untrained model would show the portrait, and that well.
        reference_detail=False,
        height=64,
        width=64,
    )
    report = validate(Pipeline.with_random_weights(config), tmp_path / "preview.png", num_clips=2)
    found = re.fullmatch(
        r"lip correlation (-?[\d.]+) \(worst (-?[\d.]+)\), lags \[(-?\d), (-?\d)\], amplitude [\d.]+, ([\d.]+) dB",
        report,
    )
    assert found, report
    assert abs(float(found[1])) < 0.5
    assert float(found[2]) <= float(found[1])
    assert float(found[5]) < 20
    with Image.open(tmp_path / "preview.png") as preview:
        assert preview.size == (8 * 64, 4 * 64)
