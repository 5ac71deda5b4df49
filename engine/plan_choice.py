"""Which networks run as exported graphs: those whose export fits, opens, and is faster here than PyTorch.

Knows how an export and PyTorch are timed side by side, and how the choice is told. The choice itself is a function of
the two times. It knows no session and no sound.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from avacast.engine.dit import DiT
from avacast.engine.errors import AvacastError
from avacast.engine.export_manifest import EXPORTS, ExportManifest, export_folders
from avacast.engine.graph_session import GraphSession, open_graph
from avacast.engine.manifest import Manifest
from avacast.engine.plan import PlannedDecoder, PlannedDiT, Plans
from avacast.engine.tiny_vae import StreamState, TinyVAE
from avacast.engine.wan_vae import WanDecoderState, WanVAE

MAX_SHARE = 0.95
"""Of PyTorch's time that an export may take: beyond it the two are as good as equal, and PyTorch needs no files."""

_NUM_TIMINGS = 3

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """Where a network runs, and why."""

    network: str
    runs_in: str
    reason: str

    def __str__(self) -> str:
        return f"{self.network} runs in {self.runs_in}: {self.reason}"


@dataclass(frozen=True)
class Timing:
    """One network in both ways, in milliseconds a call."""

    network: str
    runtime: str
    export_ms: float
    pytorch_ms: float

    @property
    def export_is_faster(self) -> bool:
        return self.export_ms <= MAX_SHARE * self.pytorch_ms

    def choice(self) -> Choice:
        chosen = self.runtime if self.export_is_faster else "PyTorch"
        return Choice(self.network, chosen, f"{self.export_ms:.1f} ms against {self.pytorch_ms:.1f} ms in PyTorch")


def choose_plans(
    bundle: Manifest, dit: DiT, vae: TinyVAE | WanVAE, exports: Path | None = None
) -> tuple[Plans, tuple[Choice, ...]]:
    """Opens the exports of `bundle` and takes what is faster than `dit` and `vae`, measured here and now.

    `exports` is the folder where they lie, None the bundle's own. An export that is damaged, stale, foreign or cannot
    run here is left out with its reason, and every choice is logged. Takes a few calls of each network.
    """
    steps: list[tuple[float, GraphSession]] = []
    decoders: list[tuple[float, PlannedDecoder]] = []
    choices: list[Choice] = []
    for folder in export_folders(exports or bundle.folder / EXPORTS):
        try:
            export = ExportManifest.read(folder)
            export.check_bundle(bundle)
            step, timing = _open_step(export, dit)
            choices.append(timing.choice())
            if timing.export_is_faster:
                steps.append((timing.export_ms, step))
            decoder, timing = _open_decoder(export, vae)
            choices.append(timing.choice())
            if timing.export_is_faster:
                decoders.append((timing.export_ms, decoder))
        except AvacastError as error:
            choices.append(Choice(folder.name, "PyTorch", str(error)))
    for choice in choices:
        _log.info("%s", choice)
    # Of several exports for the same shapes, the fastest is asked first.
    fastest = [session for _, session in sorted(steps, key=lambda candidate: candidate[0])]
    return Plans(
        PlannedDiT(dit, fastest) if fastest else None,
        min(decoders, key=lambda candidate: candidate[0])[1] if decoders else None,
    ), tuple(choices)


def _open_step(export: ExportManifest, dit: DiT) -> tuple[GraphSession, Timing]:
    weight = dit.head.head.weight
    session = open_graph(export, "step", weight.device)
    inputs = {spec.name: spec.zeros(weight.device) for spec in session.signature.inputs}
    given = {name: tensor if tensor.dtype == torch.bool else tensor.to(weight.dtype) for name, tensor in inputs.items()}
    batch, config = len(given["latents"]), dit.config
    text = weight.new_zeros(batch, config.text_len, config.text_dim) if config.text_dim else None
    image = weight.new_zeros(batch, inputs["image_keys"].shape[2], config.clip_dim) if config.clip_dim else None
    timestep = torch.zeros(batch, device=weight.device)
    sound = given["audio"], given["audio_mask"]

    def in_pytorch() -> Tensor:
        return dit(given["latents"], timestep, given["reference"], *sound, text, image, given.get("motion"))

    return session, _timing(_named("transformer", export), session, lambda: session(inputs), in_pytorch)


def _open_decoder(export: ExportManifest, vae: TinyVAE | WanVAE) -> tuple[PlannedDecoder, Timing]:
    weight = next(vae.parameters())
    init, step = (open_graph(export, name, weight.device) for name in ("decoder_init", "decoder_step"))
    inputs = {spec.name: spec.zeros(weight.device) for spec in step.signature.inputs}
    latents, *past = (tensor.to(weight.dtype) for tensor in inputs.values())

    def in_pytorch() -> object:
        if isinstance(vae, TinyVAE):
            return vae.decode_step(latents, StreamState(tuple(past)))
        return vae.decode_step(latents, WanDecoderState(tuple(past)))

    timing = _timing(_named("decoder", export), step, lambda: step(inputs), in_pytorch)
    return PlannedDecoder(vae, init, step), timing


def _named(network: str, export: ExportManifest) -> str:
    return f"{network} ({export.profile}, batch {export.batch}, {export.precision})"


def _timing(
    network: str, session: GraphSession, exported: Callable[[], object], in_pytorch: Callable[[], object]
) -> Timing:
    """Both in turn, so that what else the machine does strikes both; the fastest call counts."""
    synchronise = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None

    def milliseconds(call: Callable[[], object]) -> float:
        started = time.perf_counter()
        call()
        synchronise()
        return 1000 * (time.perf_counter() - started)

    with torch.inference_mode():
        for call in (exported, in_pytorch):
            milliseconds(call)
        pairs = [(milliseconds(exported), milliseconds(in_pytorch)) for _ in range(_NUM_TIMINGS)]
    export_ms, pytorch_ms = (min(times) for times in zip(*pairs, strict=True))
    return Timing(network, session.runtime, export_ms, pytorch_ms)
