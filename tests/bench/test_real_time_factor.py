"""The speed benchmark measures the engine as it is, and its figures fit each other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from avacast.bench.measured_networks import DECODER, SPEECH_ENCODER, TRANSFORMER, PartOperations, PartTimes, measured
from avacast.bench.real_time_factor import matrix_product_rate, measure, speech, speed, stream
from avacast.engine.pipeline import Pipeline

# Not speech: the voice carries some state from one utterance to the next, so the same words sound a little different.
SOUND = (0.1 * np.random.default_rng(6).standard_normal(16_000)).astype(np.float32)


def frames_of(pipeline: Pipeline) -> list[np.ndarray]:
    session = pipeline.open_session(np.full((64, 64, 3), 90, np.uint8))
    session.push(SOUND)
    session.flush()
    images: list[np.ndarray] = []
    while not session.finished:
        images += [frame.image for frame in session.pull()]
    return images


def test_measuring_changes_no_frame(tiny_pipeline: Pipeline) -> None:
    """Clock and counter stand around the networks, not in them; afterwards the pipeline is as before."""
    expected = frames_of(tiny_pipeline)
    for around in (PartTimes(), PartOperations()):
        with measured(tiny_pipeline, around) as pipeline:
            assert np.array_equal(frames_of(pipeline), expected)
    assert not tiny_pipeline.networks.speech_encoder._forward_hooks


def test_every_part_is_seen(tiny_pipeline: Pipeline) -> None:
    """Speech encoder, transformer and decoder each take time and operations."""
    times, operations = PartTimes(), PartOperations()
    for around in (times, operations):
        with measured(tiny_pipeline, around) as pipeline:
            frames_of(pipeline)
    for counted in (times.seconds, operations.operations):
        assert set(counted) == {SPEECH_ENCODER, TRANSFORMER, DECODER}
        assert all(value > 0 for value in counted.values())


def test_operations_are_counted_by_the_book() -> None:
    """A product of n x k and k x m is 2nkm; attention of N on N tokens of width D is two such products."""
    count = PartOperations()
    with torch.inference_mode():
        with count("product"):
            torch.randn(8, 32) @ torch.randn(32, 16)
        with count("attention"):
            query = torch.randn(1, 2, 24, 16)
            torch.nn.functional.scaled_dot_product_attention(query, query, query)
    assert count.operations == {"product": 2 * 8 * 32 * 16, "attention": 2 * 2 * 2 * 24 * 24 * 16}


def test_a_stream_is_measured_whole(tiny_pipeline: Pipeline) -> None:
    """All media is there, the first frame needs its sound, and no hop is longer than the whole."""
    run = stream(tiny_pipeline, speech(2.0))
    assert run.media_s == pytest.approx(2.0)
    assert 0 < run.first_sound_s < 2.0
    assert 0 < run.first_frame_s < run.compute_s
    assert run.num_hops >= 3
    assert 0 < run.cpu_s < 1.2 * run.compute_s, "one thread"
    assert sum(run.hops_s) < run.compute_s


def test_the_parts_add_up(tiny_pipeline: Pipeline) -> None:
    """Parts and rest make the whole real-time factor; a transformer does not beat its own ceiling."""
    figures = measure(tiny_pipeline, speech(2.0))
    parts = figures["parts"]
    assert sum(part["real_time_factor"] for part in parts.values()) == pytest.approx(figures["real_time_factor"])
    assert all(part["ms_per_hop"] > 0 for part in parts.values())
    assert 0 < figures["transformer_ceiling_share"] < 1
    assert figures["hop_media_ms"] == 160
    assert figures["peak_rss_mb"] > 50


def test_each_profile_is_measured_in_its_own_hops(tiny_pipeline: Pipeline) -> None:
    """A tts window brings two latent frames where a mic window brings one: about half as many hops."""
    mic, tts = (stream(tiny_pipeline, SOUND, profile) for profile in ("mic", "tts"))
    assert mic.media_s == tts.media_s == pytest.approx(1.0)
    assert mic.num_hops > tts.num_hops > 1
    assert measure(tiny_pipeline, SOUND, "tts")["hop_media_ms"] == 320


def test_the_ceiling_is_a_plausible_rate() -> None:
    """A processor makes more than a tenth of a GFLOP/s and less than a hundred TFLOP/s."""
    assert 1e8 < matrix_product_rate(torch.float32) < 1e14


def test_the_command_ends_with_one_line_of_json(tiny_bundle: Path, tmp_path: Path) -> None:
    """The same result stands in the last line and in the file."""
    application = typer.Typer()
    application.command()(speed)
    file = tmp_path / "speed.json"
    done = CliRunner().invoke(
        application, ["--seconds", "1", "--bundle", str(tiny_bundle), "--threads", "1", "--json", str(file)]
    )
    assert done.exit_code == 0, done.output
    assert "real-time factor" in done.output
    assert json.loads(done.output.splitlines()[-1]) == json.loads(file.read_text())
