"""Which networks run in what: as exported graphs or as captured ones where these fit, open, and are faster here.

Knows how two ways of running a network are timed side by side, and how the choice is told. The choice itself is a
function of the two times. It knows no session and no sound.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from avacast.engine.captured_session import captured_decoder, captured_step
from avacast.engine.config import ModelConfig
from avacast.engine.errors import AvacastError
from avacast.engine.export_manifest import EXPORTS, ExportManifest, export_folders
from avacast.engine.graph_session import GraphSession, open_graph
from avacast.engine.manifest import Manifest
from avacast.engine.networks import Networks, decode_step
from avacast.engine.plan import DecoderState, PlannedDecoder, PlannedDiT, Plans
from avacast.engine.profile import Profile, ProfileName
from avacast.engine.static_form import StaticShape
from avacast.engine.tiny_vae import StreamState, TinyVAE
from avacast.engine.wan_vae import WanDecoderState

MAX_SHARE = 0.95
"""Of the other's time that a graph may take: beyond it the two are as good as equal, and PyTorch needs no files."""

PYTORCH = "PyTorch"

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
    """One network in two ways, in milliseconds a call: as a graph, and in what it would run otherwise."""

    network: str
    runtime: str
    graph_ms: float
    other_ms: float
    other: str = PYTORCH

    @property
    def graph_is_faster(self) -> bool:
        return self.graph_ms <= MAX_SHARE * self.other_ms

    def choice(self) -> Choice:
        (chosen, chosen_ms), (left, left_ms) = (self.runtime, self.graph_ms), (self.other, self.other_ms)
        if not self.graph_is_faster:
            (chosen, chosen_ms), (left, left_ms) = (left, left_ms), (chosen, chosen_ms)
        return Choice(self.network, chosen, f"{chosen_ms:.1f} ms against {left_ms:.1f} ms in {left}")


def choose_plans(
    config: ModelConfig, networks: Networks, bundle: Manifest, exports: Path | None = None
) -> tuple[Plans, tuple[Choice, ...]]:
    """The fastest way to run `networks`, measured here and now: PyTorch, captured (on a GPU), or an export of `bundle`.

    `exports` is the folder where exports lie, None the bundle's own. What cannot be captured, and an export that is
    damaged, stale, foreign or cannot run here, is left out with its reason, and every choice is logged. Takes a few
    calls of each network, and on a GPU the time to compile and capture.
    """
    contest = _Contest(networks)
    with torch.inference_mode():
        if networks.device.type == "cuda":
            contest.admit_captures(config)
        for folder in export_folders(exports or bundle.folder / EXPORTS):
            contest.admit_export(folder, bundle)
    for choice in contest.choices:
        _log.info("%s", choice)
    return contest.plans, tuple(contest.choices)


@dataclass
class _Contest:
    """Every graph runs against the fastest before it, the first of them against PyTorch."""

    networks: Networks
    steps: dict[tuple[tuple[int, ...], ...], GraphSession] = field(default_factory=dict[Any, GraphSession])
    """The fastest, by the shapes of their inputs."""
    decoder: PlannedDecoder | None = None
    choices: list[Choice] = field(default_factory=list[Choice])

    @property
    def plans(self) -> Plans:
        return Plans(PlannedDiT(self.networks.dit, [*self.steps.values()]) if self.steps else None, self.decoder)

    def admit_captures(self, config: ModelConfig) -> None:
        """The networks as CUDA graphs, for the windows of every profile and one session."""
        pool: Any = None
        for name, profile in _windows(config):
            try:
                step = captured_step(self.networks.dit, _shape(config, profile, self.networks.dtype), pool=pool)
                self._admit_step(f"transformer ({name})", step)
                pool = step.pool
            except RuntimeError as error:
                self._refuse(f"transformer ({name})", f"it cannot be captured ({error})")
        try:
            shape = _shape(config, config.profile("mic"), self.networks.precision.vae)
            self._admit_decoder("decoder", captured_decoder(self._vae, shape, pool=pool))
        except RuntimeError as error:
            self._refuse("decoder", f"it cannot be captured ({error})")

    def admit_export(self, folder: Path, bundle: Manifest) -> None:
        """The export in `folder`, where it can be opened."""
        try:
            export = ExportManifest.read(folder)
            export.check_bundle(bundle)
            told = f"({export.profile}, batch {export.batch}, {export.precision})"
            self._admit_step(f"transformer {told}", open_graph(export, "step", self.networks.device))
            init, step = (open_graph(export, name, self.networks.device) for name in ("decoder_init", "decoder_step"))
            self._admit_decoder(f"decoder {told}", PlannedDecoder(self._vae, init, step))
        except AvacastError as error:
            self._refuse(folder.name, str(error))

    def _admit_step(self, network: str, session: GraphSession) -> None:
        inputs = session.signature.zeros(self.networks.device)
        shapes = tuple(spec.shape for spec in session.signature.inputs)
        rival = self.steps.get(shapes)
        call = (lambda: rival(inputs)) if rival else _dit_call(self.networks, inputs)
        if self._is_faster(network, session, lambda: session(inputs), rival, call):
            self.steps[shapes] = session

    def _admit_decoder(self, network: str, decoder: PlannedDecoder) -> None:
        session, rival = decoder.step, self.decoder and self.decoder.step
        inputs = session.signature.zeros(self.networks.device)
        call = (lambda: rival(inputs)) if rival else _decoder_call(self.networks, inputs.values())
        if self._is_faster(network, session, lambda: session(inputs), rival, call):
            self.decoder = decoder

    def _is_faster(
        self,
        network: str,
        session: GraphSession,
        graph: Callable[[], object],
        rival: GraphSession | None,
        other: Callable[[], object],
    ) -> bool:
        timing = Timing(network, session.runtime, *_both_ms(graph, other), rival.runtime if rival else PYTORCH)
        self.choices.append(timing.choice())
        return timing.graph_is_faster

    def _refuse(self, what: str, reason: str) -> None:
        self.choices.append(Choice(what, PYTORCH, " ".join(reason.split())[:500]))

    @property
    def _vae(self) -> Any:
        return self.networks.live_vae or self.networks.vae


def _windows(config: ModelConfig) -> Iterable[tuple[ProfileName, Profile]]:
    """The profiles, without those whose windows another has too."""
    found: dict[int, tuple[ProfileName, Profile]] = {}
    for name in get_args(ProfileName):
        profile = config.profile(name)
        found.setdefault(profile.window.window, (name, profile))
    return found.values()


def _shape(config: ModelConfig, profile: Profile, dtype: torch.dtype) -> StaticShape:
    return StaticShape(config, profile, 1, dtype)


def _dit_call(networks: Networks, inputs: Mapping[str, Tensor]) -> Callable[[], object]:
    """The transformer itself on what a step graph is given, in `DiT.forward`'s terms."""
    dit, device = networks.dit, networks.device
    given = {
        name: tensor.to(device, tensor.dtype if tensor.dtype == torch.bool else networks.dtype)
        for name, tensor in inputs.items()
    }
    batch, config = len(given["latents"]), dit.config
    weight = dit.head.head.weight
    text = weight.new_zeros(batch, config.text_len, config.text_dim) if config.text_dim else None
    image = weight.new_zeros(batch, inputs["image_keys"].shape[2], config.clip_dim) if config.clip_dim else None
    timestep = torch.zeros(batch, device=device)
    sound = given["audio"], given["audio_mask"]
    return lambda: dit(given["latents"], timestep, given["reference"], *sound, text, image, given.get("motion"))


def _decoder_call(networks: Networks, inputs: Iterable[Tensor]) -> Callable[[], object]:
    """The decoder itself on what the graph of a further latent frame is given."""
    vae = networks.live_vae or networks.vae
    latents, *past = (tensor.to(networks.device, networks.precision.vae) for tensor in inputs)
    state: DecoderState = (StreamState if isinstance(vae, TinyVAE) else WanDecoderState)(tuple(past))
    return lambda: decode_step(vae, latents, state)


def _both_ms(graph: Callable[[], object], other: Callable[[], object]) -> tuple[float, float]:
    """Both in turn, so that what else the machine does strikes both; the fastest call counts."""
    synchronise = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None

    def milliseconds(call: Callable[[], object]) -> float:
        started = time.perf_counter()
        call()
        synchronise()
        return 1000 * (time.perf_counter() - started)

    for call in (graph, other):
        milliseconds(call)
    pairs = [(milliseconds(graph), milliseconds(other)) for _ in range(_NUM_TIMINGS)]
    graph_ms, other_ms = (min(times) for times in zip(*pairs, strict=True))
    return graph_ms, other_ms
