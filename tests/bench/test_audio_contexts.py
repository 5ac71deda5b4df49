"""Streamed tokens beside whole-file ones: what is compared, what it costs in time, and that all contexts are there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from numpy.typing import NDArray
from typer.testing import CliRunner

from avacast.bench import audio_contexts as module
from avacast.bench.audio_contexts import (
    audio_contexts,
    latency_ms,
    measure,
    streamed_tokens,
    whole_tokens,
    with_contexts,
)
from avacast.bench.held_out_clip import HeldOutClip
from avacast.engine.errors import BadSetting
from avacast.engine.pipeline import Pipeline
from avacast.engine.presets import POCKET, STABLEAVATAR_1_3B
from avacast.engine.speech_encoder import SpeechEncoder


@pytest.fixture(scope="module")
def encoder(tiny_pipeline: Pipeline) -> SpeechEncoder:
    return tiny_pipeline.networks.speech_encoder


@pytest.fixture(scope="module")
def sound() -> NDArray[np.float32]:
    """A second and a half, somewhat past a whole number of latent frames."""
    return (0.1 * np.random.default_rng(5).standard_normal(24_100)).astype(np.float32)


def test_tokens_that_hear_the_whole_file_do_not_differ(encoder: SpeechEncoder, sound: NDArray[np.float32]) -> None:
    """One run over everything is the whole file: each streamed token stands beside its own."""
    whole = whole_tokens(encoder, sound)
    streamed = streamed_tokens(encoder, with_contexts(POCKET.audio, 8, 0), sound, hop=9)
    assert streamed.shape == (8 * 9 - 6 + 4, 128)
    assert len(whole) == 75
    row = measure(encoder, with_contexts(POCKET.audio, 8, 5), [sound], hop=9)
    assert row.difference < 1e-5
    assert row.difference_p95 < 1e-5


def test_less_context_differs_more(encoder: SpeechEncoder, sound: NDArray[np.float32]) -> None:
    """And costs less. Differences are of one norm over another, so the volume of tokens does not matter."""
    narrow, wide = (measure(encoder, with_contexts(POCKET.audio, *c), [sound], hop=1) for c in ((0.1, 0), (1.0, 6)))
    assert 0.01 < wide.difference < narrow.difference < 2
    assert narrow.difference < narrow.difference_p95
    assert 0 < narrow.compute_ms < wide.compute_ms


@pytest.mark.parametrize(("hop", "right", "expected"), [(1, 3, 305), (1, 4, 325), (2, 4, 485), (1, 0, 245)])
def test_latency_is_hop_margin_right_context_and_a_tokens_reach(hop: int, right: int, expected: float) -> None:
    """160 ms each hop, 20 ms each token of 4 of margin and of the right context, 5 ms."""
    assert latency_ms(with_contexts(POCKET.audio, 2, right), hop) == expected


def test_the_command_tabulates_every_pair(
    tiny_bundle: Path, clip: HeldOutClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two lefts by two rights, in two tables and in one line of JSON."""
    monkeypatch.setattr(module, "read_held_out", lambda _: [clip])
    monkeypatch.setattr(module, "LEFT_CONTEXTS_S", (0.5, 1.0))
    monkeypatch.setattr(module, "RIGHT_CONTEXTS", (0, 3))
    application = typer.Typer()
    application.command()(audio_contexts)
    file = tmp_path / "contexts.json"
    done = CliRunner().invoke(application, ["--bundle", str(tiny_bundle), "--threads", "1", "--json", str(file)])
    assert done.exit_code == 0, done.output
    assert "left 0.5 s" in done.stdout
    result = json.loads(done.stdout.splitlines()[-1])
    assert result == json.loads(file.read_text())
    rows = result["figures"]["rows"]
    pairs = [(row["left_context_s"], row["right_context_tokens"]) for row in rows]
    assert pairs == [(0.5, 0), (0.5, 3), (1.0, 0), (1.0, 3)]
    assert result["figures"]["sounds_s"] == [4.8]


def test_a_model_of_windows_is_refused(tiny_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    released = Pipeline(STABLEAVATAR_1_3B, tiny_pipeline.networks)
    monkeypatch.setattr(module, "open_model", lambda *_, **__: released)
    with pytest.raises(BadSetting, match="not a stream; use the pocket model"):
        audio_contexts()
