"""Which networks run in what: as exported graphs or as captured ones where these fit, open, and are faster here.

Knows where graphs come from and which of them answer for the same call. How two are timed, and how the choice is told,
is `plan_timing`'s. It knows no session and no sound.
"""

from __future__ import annotations

import logging
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
from avacast.engine.plan_timing import PYTORCH, Choice, Timing, both_ms
from avacast.engine.profile import Profile, ProfileName
from avacast.engine.static_form import StaticShape
from avacast.engine.tiny_vae import StreamState, TinyVAE
from avacast.engine.wan_vae import WanDecoderState

_log = logging.getLogger(__name__)


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


@dataclass(frozen=True)
class _Entrant:
    """A graph in the contest."""

    session: GraphSession
    told: str
    """Which one it is, where a runtime has several."""

    @property
    def runtime(self) -> str:
        return f"{self.session.runtime} ({self.told})"


@dataclass
class _Contest:
    """Every graph runs against the fastest before it, the first of them against PyTorch."""

    networks: Networks
    steps: dict[tuple[tuple[int, ...], ...], _Entrant] = field(default_factory=dict[Any, _Entrant])
    """The fastest, by the shapes of their inputs."""
    decoder: PlannedDecoder | None = None
    choices: list[Choice] = field(default_factory=list[Choice])
    _decoding: _Entrant | None = None
    _tried: set[tuple[str, ...]] = field(default_factory=set[tuple[str, ...]])
    """Digests: profiles with equal windows have equal graphs."""

    @property
    def plans(self) -> Plans:
        steps = [entrant.session for entrant in self.steps.values()]
        return Plans(PlannedDiT(self.networks.dit, steps) if steps else None, self.decoder)

    def admit_captures(self, config: ModelConfig) -> None:
        """The networks as CUDA graphs, for the windows of every profile and one session."""
        pool: Any = None
        for name, profile in _windows(config):
            try:
                step = captured_step(self.networks.dit, _shape(config, profile, self.networks.dtype), pool=pool)
                self._admit_step(_Entrant(step, name))
                pool = step.pool
            except RuntimeError as error:
                self._refuse(f"transformer ({name})", f"it cannot be captured ({error})")
        try:
            shape = _shape(config, config.profile("mic"), self.networks.precision.vae)
            self._admit_decoder(captured_decoder(self._vae, shape, pool=pool), "one session")
        except RuntimeError as error:
            self._refuse("decoder", f"it cannot be captured ({error})")

    def admit_export(self, folder: Path, bundle: Manifest) -> None:
        """The export in `folder`, where it can be opened."""
        try:
            export = ExportManifest.read(folder)
            export.check_bundle(bundle)
            told = f"{export.profile}, batch {export.batch}, {export.precision}"
            if self._is_new(export, "step"):
                self._admit_step(_Entrant(open_graph(export, "step", self.networks.device), told))
            if self._is_new(export, "decoder_init", "decoder_step"):
                both = (open_graph(export, name, self.networks.device) for name in ("decoder_init", "decoder_step"))
                self._admit_decoder(PlannedDecoder(self._vae, *both), told)
        except AvacastError as error:
            self._refuse(folder.name, str(error))

    def _is_new(self, export: ExportManifest, *names: str) -> bool:
        networks = [network for name, network in export.networks.items() if name in names]
        digests = tuple(entry.sha256 for network in networks for entry in network.files.values())
        if digests in self._tried:
            return False
        self._tried.add(digests)
        return True

    def _admit_step(self, entrant: _Entrant) -> None:
        signature = entrant.session.signature
        inputs, shapes = signature.zeros(self.networks.device), tuple(spec.shape for spec in signature.inputs)
        batch, _, num_latents, *_ = signature.input("latents").shape
        network = f"transformer, {batch} x {num_latents} latent frames"
        rival = self.steps.get(shapes)
        if self._is_faster(network, entrant, rival, inputs, _dit_call(self.networks, inputs)):
            self.steps[shapes] = entrant

    def _admit_decoder(self, decoder: PlannedDecoder, told: str) -> None:
        entrant, inputs = _Entrant(decoder.step, told), decoder.step.signature.zeros(self.networks.device)
        plain = _decoder_call(self.networks, inputs.values())
        if self._is_faster("decoder", entrant, self._decoding, inputs, plain):
            self.decoder, self._decoding = decoder, entrant

    def _is_faster(
        self,
        network: str,
        entrant: _Entrant,
        rival: _Entrant | None,
        inputs: Mapping[str, Tensor],
        plain: Callable[[], object],
    ) -> bool:
        other = (lambda: rival.session(inputs)) if rival else plain
        times = both_ms(lambda: entrant.session(inputs), other)
        timing = Timing(network, entrant.runtime, *times, rival.runtime if rival else PYTORCH)
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
