"""Names, shapes and types of what is exported."""

from __future__ import annotations

import torch

from avacast.engine.config import ModelConfig
from avacast.engine.graph_signature import GraphSignature
from avacast.engine.pipeline import Pipeline
from avacast.engine.portrait import Picture
from avacast.engine.presets import STABLEAVATAR_1_3B
from avacast.engine.sample_tail import Samples
from avacast.engine.static_form import StaticShape, signatures
from avacast.export.forms import static_forms
from avacast.export.recording import record


def of(config: ModelConfig, *, batch: int = 1, dtype: torch.dtype = torch.float32) -> dict[str, GraphSignature]:
    return signatures(StaticShape(config, config.profile("mic"), batch, dtype))


def holds_for(pipeline: Pipeline, picture: Picture, sound: Samples) -> None:
    """Runs every static form on recorded inputs and holds the outputs against signature and network."""
    wanted = of(pipeline.config)
    forms = static_forms(pipeline.networks, wanted)
    calls = record(pipeline, pipeline.config.profile("mic"), picture, sound, wanted, max_calls=2).calls
    assert sorted(calls) == sorted(wanted), "a session calls every network with the shapes of its signature"
    for name, signature in wanted.items():
        call = calls[name][-1]
        with torch.inference_mode():
            made = forms[name](*(call.inputs[spec.name] for spec in signature.inputs))
        outputs = made if isinstance(made, tuple) else (made,)
        for spec, output, expected in zip(signature.outputs, outputs, call.outputs, strict=True):
            assert (tuple(output.shape), output.dtype) == (spec.shape, spec.dtype), (name, spec)
            torch.testing.assert_close(output, expected)


def test_a_session_of_the_pocket_kind_calls_its_networks_as_their_signatures_say(
    small_pipeline: Pipeline, picture: Picture, sound: Samples
):
    """The shapes come from the configuration alone, and are those that a running stream has."""
    holds_for(small_pipeline, picture, sound)


def test_a_session_of_the_released_kind_calls_its_networks_as_their_signatures_say(
    released_pipeline: Pipeline, picture: Picture, sound: Samples
):
    """Text and picture come as keys and values, sound window by window, the Wan decoder's past as tensors."""
    holds_for(released_pipeline, picture, sound)


def test_what_a_decoder_step_leaves_is_what_the_next_takes():
    """Both auto-encoders carry a past of fixed shapes, which the first step makes from nothing."""
    found = of(STABLEAVATAR_1_3B, dtype=torch.bfloat16)
    taken = [spec.shape for spec in found["decoder_step"].inputs[1:]]
    assert len(taken) == 32
    for name in ("decoder_init", "decoder_step"):
        assert [spec.shape for spec in found[name].outputs[1:]] == taken
    assert found["decoder_init"].outputs[0].shape == (1, 1, 3, 512, 512)
    assert found["decoder_step"].outputs[0].shape == (1, 4, 3, 512, 512)


def test_sessions_share_passes_of_the_transformer_alone():
    """Whatever the batch, each is heard, decoded and seen by itself, as a session's calls are."""
    alone, four = (of(STABLEAVATAR_1_3B, batch=batch) for batch in (1, 4))
    assert four["step"].input("latents").shape[0] == 4
    assert {name for name in four if four[name] != alone[name]} == {"step"}


def test_tables_and_timesteps_are_never_rounded():
    """In every precision, what steers each token at once stays float32."""
    step = of(STABLEAVATAR_1_3B, batch=2, dtype=torch.bfloat16)["step"]
    exact = {spec.name for spec in step.inputs if spec.dtype == torch.float32}
    assert exact == {"timestep", "cos", "sin"}
    assert step.input("text_keys").shape == (30, 2, 512, 1536)


def test_a_signature_survives_its_json(released_config: ModelConfig):
    """What the manifest holds is the whole signature."""
    for signature in of(released_config, dtype=torch.float16).values():
        assert GraphSignature.from_json(signature.to_json()) == signature
