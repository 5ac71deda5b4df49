"""Whether an export computes what the networks do: tensor by tensor on a real session's inputs, and the whole stream.

Knows the bounds, and how errors are measured against PyTorch in float32. Knows no terminal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avacast.engine.export_manifest import ExportManifest
from avacast.engine.graph_session import GraphSession, open_graph
from avacast.engine.graph_signature import GraphSignature
from avacast.engine.pipeline import Pipeline
from avacast.engine.plan import PlannedDecoder, PlannedDiT, Plans
from avacast.engine.portrait import Picture
from avacast.engine.sample_tail import Samples
from avacast.engine.static_form import StaticShape
from avacast.export.recording import Call, record, stream
from avacast.export.signature import signatures

MAX_ERRORS = {"fp32": 1e-4, "fp16": 1e-2, "bf16": 3e-2}
"""Of a tensor, relative to it: the norm of the difference over the norm of what PyTorch computes in float32."""

MIN_PSNR_DB = 35.0
"""Of decoded frames, each by itself."""

COMPARING = "comparing"
"""What is reported as being done."""

_MAX_CALLS = 12
"""Of each network: a few windows with all their steps, and a stream's beginning."""

_UNBATCHED = ("cos", "sin")
_BATCHED_SECOND = ("text_keys", "text_values", "image_keys", "image_values")


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
    sessions = {name: open_graph(export, name, pipeline.networks.device) for name in export.networks}
    alone = signatures(StaticShape(pipeline.config, profile, 1, torch.float32))
    total = len(sessions) + 2
    report(COMPARING, 0, total)
    recording = record(pipeline, profile, picture, samples, alone, max_calls=_MAX_CALLS)
    for done, (name, session) in enumerate(sessions.items()):
        report(COMPARING, done + 1, total)
        yield from _compare(name, session, recording.calls[name], export)
    if export.batch == 1:
        report(COMPARING, total - 1, total)
        plans = _all_planned(pipeline, sessions)
        frames = stream(Pipeline(pipeline.config, replace(pipeline.networks, plans=plans)), profile, picture, samples)
        yield Finding("the whole stream, its worst frame", min_psnr_db(frames, recording.frames), MIN_PSNR_DB, "dB")
    report(COMPARING, total, total)


def _all_planned(pipeline: Pipeline, sessions: Mapping[str, GraphSession]) -> Plans:
    """Whatever has a call of its own runs as exported, fast or not."""
    networks = pipeline.networks
    decoder = PlannedDecoder(networks.live_vae or networks.vae, sessions["decoder_init"], sessions["decoder_step"])
    return Plans(PlannedDiT(networks.dit, [sessions["step"]]), decoder)


def _compare(name: str, session: GraphSession, calls: Sequence[Call], export: ExportManifest) -> Iterator[Finding]:
    """The worst error of each output over the calls, and the worst PSNR of the frames among them."""
    assert calls, f"the session never called {name} with the shapes of its export"
    errors = [0.0] * len(session.signature.outputs)
    psnr_db = math.inf
    for index in range(len(calls)):
        # A batch of several sessions is made of as many calls of one.
        batch = [calls[(index + i) % len(calls)] for i in range(_batch_of(session.signature, export.batch))]
        given = {
            spec.name: _joined(spec.name, [call.inputs[spec.name] for call in batch])
            for spec in session.signature.inputs
        }
        for place, output in enumerate(session(given)):
            expected = torch.cat([call.outputs[place] for call in batch])
            errors[place] = max(errors[place], relative_error(output, expected))
            if session.signature.outputs[place].name == "frames":
                psnr_db = min(psnr_db, min_psnr_db(_bytes(output), _bytes(expected)))
    for spec, error in zip(session.signature.outputs, errors, strict=True):
        yield Finding(f"{name}: {spec.name}", error, MAX_ERRORS[export.precision])
    if psnr_db < math.inf or "decoder" in name:
        yield Finding(f"{name}: its worst frame", psnr_db, MIN_PSNR_DB, "dB")


def _batch_of(signature: GraphSignature, batch: int) -> int:
    """Calls of one session that make one of this graph: what is encoded session by session takes one."""
    return batch if signature.inputs[0].name == "latents" else 1


def _joined(name: str, tensors: list[Tensor]) -> Tensor:
    if name in _UNBATCHED:
        return tensors[0]
    return torch.cat(tensors, dim=1 if name in _BATCHED_SECOND else 0)


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
