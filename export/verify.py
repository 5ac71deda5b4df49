"""Whether an export computes what the networks do: tensor by tensor on a real session's inputs, and the whole stream.

Knows the bounds, and how errors are measured against PyTorch in float32. Knows no terminal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avacast.engine.export_manifest import ExportManifest
from avacast.engine.graph_session import GraphSession, open_graph
from avacast.engine.pipeline import Pipeline
from avacast.engine.plan import PlannedClip, PlannedDecoder, PlannedDiT, PlannedSpeechEncoder, Plans
from avacast.engine.portrait import Picture
from avacast.engine.sample_tail import Samples
from avacast.engine.static_form import StaticShape, signatures
from avacast.export.forms import FLOAT8_PARTS
from avacast.export.recording import Call, batched, record, stream

MAX_ERRORS = {"fp32": 1e-4, "fp16": 1e-2, "bf16": 3e-2, "fp8": 1e-1}
"""Of a tensor, relative to it: the norm of the difference over the norm of what PyTorch computes in float32.

Three bits of mantissa are 2.6 % of noise on each side of a product, 3.7 % on what it gives; the layers of the pocket
model make 6 to 7 % of that.
"""

MIN_PSNR_DB = 35.0
"""Of decoded frames, each by itself."""

_MAX_CALLS = 12
"""Of each network: a few windows with all their steps, and a stream's beginning."""


@dataclass(frozen=True)
class Finding:
    """One comparison."""

    what: str
    value: float
    bound: float
    """The most that an error may be, the least that a PSNR may be."""
    unit: str = ""

    @property
    def holds(self) -> bool:
        """False for NaN too."""
        return self.value >= self.bound if self.unit == "dB" else self.value <= self.bound

    def __str__(self) -> str:
        verdict = "ok" if self.holds else "PAST ITS BOUND"
        value = (
            f"{self.value:.1f} dB (at least {self.bound:g})"
            if self.unit
            else f"{self.value:.1e} (at most {self.bound:g})"
        )
        return f"{self.what:<44}{value:<32}{verdict}"


def findings(
    export: ExportManifest,
    pipeline: Pipeline,
    picture: Picture,
    samples: Samples,
    report: Callable[[str, int, int], None],
) -> Iterator[Finding]:
    """Compares the export with `pipeline`, the same model in float32, on a session with `picture` and `samples`.

    Raises BadBundle for a damaged or foreign export, Unavailable where its runtime cannot run it here.
    """
    profile = pipeline.config.profile(export.profile)
    alone, wanted = (signatures(StaticShape(pipeline.config, profile, n, torch.float32)) for n in (1, export.batch))
    export.check_signatures(wanted)
    sessions = {name: open_graph(export, name, pipeline.networks.device) for name in export.networks}
    told = partial(report, "running the networks")
    recording = record(pipeline, profile, picture, samples, alone, max_calls=_MAX_CALLS, report=told)
    for done, (name, session) in enumerate(sessions.items()):
        report("comparing", done, len(sessions))
        yield from _compare(name, session, recording.calls[name], export)
    report("comparing", len(sessions), len(sessions))
    if export.batch == 1:
        exported = Pipeline(pipeline.config, replace(pipeline.networks, plans=_all_planned(pipeline, sessions)))
        frames = stream(exported, profile, picture, samples, partial(report, "running the export"))
        yield Finding("the whole stream, its worst frame", min_psnr_db(frames, recording.frames), MIN_PSNR_DB, "dB")


def _all_planned(pipeline: Pipeline, sessions: Mapping[str, GraphSession]) -> Plans:
    """Whatever has a call of its own runs as exported, fast or not."""
    networks = pipeline.networks
    return Plans(
        dit=PlannedDiT(networks.dit, [sessions["step"]]),
        decoder=PlannedDecoder(networks.live_vae or networks.vae, sessions["decoder_init"], sessions["decoder_step"]),
        speech_encoder=PlannedSpeechEncoder(networks.speech_encoder, [sessions["speech_encoder"]]),
        clip=PlannedClip(networks.clip, [sessions["clip"]]) if networks.clip else None,
    )


def _compare(name: str, session: GraphSession, calls: Sequence[Call], export: ExportManifest) -> Iterator[Finding]:
    """The worst error of each output over the calls, and the worst PSNR of the frames among them."""
    assert calls, f"the session never called {name} with the shapes of its export"
    errors = [0.0] * len(session.signature.outputs)
    psnr_db = math.inf
    for call in batched(calls, session.signature):
        for place, (output, expected) in enumerate(zip(session(call.inputs), call.outputs, strict=True)):
            errors[place] = max(errors[place], relative_error(output, expected))
            if session.signature.outputs[place].name == "frames":
                psnr_db = min(psnr_db, min_psnr_db(_bytes(output), _bytes(expected)))
    for spec, error in zip(session.signature.outputs, errors, strict=True):
        yield Finding(f"{name}: {spec.name}", error, max_error(export.precision, name))
    if psnr_db < math.inf or "decoder" in name:
        yield Finding(f"{name}: its worst frame", psnr_db, MIN_PSNR_DB, "dB")


def max_error(precision: str, network: str) -> float:
    """The bound of `network`; without a part in eight bits, it is float16's in an export of fp8."""
    return MAX_ERRORS["fp16" if precision == "fp8" and network not in FLOAT8_PARTS else precision]


def relative_error(output: Tensor, expected: Tensor) -> float:
    """Norm of the difference over the norm of `expected`; NaN where `output` holds one."""
    difference = (output.double() - expected.double()).norm().item()
    norm = expected.double().norm().item()
    return difference / norm if norm else (0.0 if difference == 0 else math.nan)


def min_psnr_db(frames: NDArray[np.uint8], expected: NDArray[np.uint8]) -> float:
    """Of frames `[T, H, W, 3]`, the lowest of all; infinite where they are equal."""
    assert frames.shape == expected.shape, (frames.shape, expected.shape)
    squares = (frames.astype(np.float32) - expected.astype(np.float32)) ** 2
    worst = float(squares.reshape(len(squares), -1).mean(axis=1).max())
    return math.inf if worst == 0 else 10 * math.log10(255**2 / worst)


def _bytes(frames: Tensor) -> NDArray[np.uint8]:
    """Frames [B, T, 3, H, W] in 0..1 as they are shown, `[B*T, H, W, 3]`."""
    shown = (frames.float() * 255).round().to(torch.uint8)
    return shown.flatten(0, 1).permute(0, 2, 3, 1).cpu().numpy()
