"""Graphs as they are written, run: every network of the released kind, whose parts the pocket model has none of."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from avacast.engine.config import ModelConfig
from avacast.engine.graph_session import OnnxRuntimeSession
from avacast.engine.pipeline import Pipeline
from avacast.engine.portrait import Picture
from avacast.engine.sample_tail import Samples
from avacast.engine.static_form import StaticShape, signatures
from avacast.export.exporter import PRECISIONS, with_plain_weights
from avacast.export.forms import static_forms
from avacast.export.onnx_file import write_onnx
from avacast.export.recording import record
from avacast.export.verify import MAX_ERRORS, relative_error


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_networks_of_the_released_kind_compute_the_same_in_onnx_runtime(
    precision: str,
    released_config: ModelConfig,
    released_pipeline: Pipeline,
    picture: Picture,
    sound: Samples,
    tmp_path: Path,
):
    """Keys of text and picture, the Wan decoder with its 32 pasts, CLIP: on a session's inputs, within the bounds."""
    profile, dtype = released_config.profile("mic"), PRECISIONS[precision]
    alone, wanted = (signatures(StaticShape(released_config, profile, 1, each)) for each in (torch.float32, dtype))
    calls = record(released_pipeline, profile, picture, sound, alone, max_calls=2).calls
    rough = Pipeline.with_random_weights(released_config, dtype=dtype).networks
    with_plain_weights(rough.speech_encoder).to(dtype)
    forms = static_forms(rough, wanted)
    assert sorted(forms) == ["clip", "decoder_init", "decoder_step", "speech_encoder", "step"]
    for name, form in forms.items():
        graph, *_ = write_onnx(form.eval(), wanted[name], tmp_path / f"{name}.onnx")
        session = OnnxRuntimeSession(graph, wanted[name], "cpu")
        for call in calls[name]:
            made = session(call.inputs)
            assert call.outputs[0].abs().max() > 0, "zeros equal zeros, whatever was computed"
            for spec, output, expected in zip(wanted[name].outputs, made, call.outputs, strict=True):
                assert relative_error(output, expected) <= MAX_ERRORS[precision], (name, spec.name)
