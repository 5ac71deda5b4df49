"""Which networks run in what: as exported graphs or as captured ones where these fit, open, and are faster here.

Knows where graphs come from, and which call of which network each answers for. Who wins is `plan_contest`'s. It knows
no session and no sound.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from avacast.engine.captured_session import captured_decoder, captured_speech_encoder, captured_step
from avacast.engine.clip import ClipVision
from avacast.engine.config import ModelConfig
from avacast.engine.errors import AvacastError
from avacast.engine.export_manifest import EXPORTS, ExportManifest, export_folders
from avacast.engine.graph_session import GraphSession, open_graph
from avacast.engine.loop_choice import choose_loop
from avacast.engine.manifest import Manifest
from avacast.engine.networks import Networks, decode_step
from avacast.engine.plan import DecoderState, PlannedClip, PlannedDecoder, PlannedDiT, PlannedSpeechEncoder, Plans
from avacast.engine.plan_contest import Contest, Entrant
from avacast.engine.plan_timing import Choice
from avacast.engine.profile import Profile, ProfileName
from avacast.engine.static_form import StaticShape, signatures
from avacast.engine.tiny_vae import StreamState, TinyVAE
from avacast.engine.wan_vae import WanDecoderState

_log = logging.getLogger(__name__)

TRANSFORMER, DECODER, SPEECH_ENCODER, CLIP = "transformer", "decoder", "speech encoder", "CLIP"
"""The networks as choices name them."""


def choose_plans(
    config: ModelConfig, networks: Networks, bundle: Manifest, exports: Path | None = None
) -> tuple[Plans, tuple[Choice, ...]]:
    """The fastest way to run `networks`, measured here and now: PyTorch, captured (on a GPU), or an export of `bundle`.

    `exports` is the folder where exports lie, None the bundle's own. What cannot be captured, and an export that is
    damaged, stale, foreign or cannot run here, is left out with its reason, and every choice is logged. Takes a few
    calls of each network, and on a GPU the time to compile and capture.
    """
    contest = Contest(networks.device)
    admission = _Admission(config, networks, contest)
    with torch.inference_mode():
        if networks.device.type == "cuda":
            admission.admit_captures()
        for folder in export_folders(exports or bundle.folder / EXPORTS):
            admission.admit_export(folder, bundle)
        plans = admission.plans
        if networks.device.type == "cuda":
            loop, choices = choose_loop(config, replace(networks, plans=plans))
            plans = replace(plans, loop=loop)
            contest.choices += choices
    for choice in contest.choices:
        _log.info("%s", choice)
    return plans, tuple(contest.choices)


@dataclass
class _Admission:
    """Who may run in place of a network, and what came of it."""

    config: ModelConfig
    networks: Networks
    contest: Contest
    _decoder: PlannedDecoder | None = None
    _tried: set[tuple[str, ...]] = field(default_factory=set[tuple[str, ...]])
    """Digests: profiles with equal windows have equal graphs."""

    @property
    def plans(self) -> Plans:
        networks = self.networks
        steps, hearing, seeing = (self.contest.fastest(name) for name in (TRANSFORMER, SPEECH_ENCODER, CLIP))
        return Plans(
            dit=PlannedDiT(networks.dit, steps) if steps else None,
            decoder=self._decoder,
            speech_encoder=PlannedSpeechEncoder(networks.speech_encoder, hearing) if hearing else None,
            clip=PlannedClip(networks.clip, seeing) if networks.clip and seeing else None,
        )

    def admit_captures(self) -> None:
        """The networks as CUDA graphs, for the windows of every profile and one session."""
        config, pool = self.config, None
        for name, profile in _windows(config):
            try:
                step = captured_step(self.networks.dit, _shape(config, profile, self.networks.dtype), pool=pool)
                self._admit_step(Entrant(step, name))
                pool = step.pool
            except RuntimeError as error:
                self.contest.refuse(f"{TRANSFORMER} ({name})", f"it cannot be captured ({error})")
        try:
            shape = _shape(config, config.profile("mic"), self.networks.precision.vae)
            # In memory of its own: it runs beside the transformer.
            self._admit_decoder(captured_decoder(self._vae, shape), "one session")
        except RuntimeError as error:
            self.contest.refuse(DECODER, f"it cannot be captured ({error})")
        self._admit_captured_speech_encoders()

    def _admit_captured_speech_encoders(self) -> None:
        """For the sound that a window of every profile brings; in memory of their own, for they run beside it."""
        encoder, pool = self.networks.speech_encoder, None
        shapes = [_shape(self.config, self.config.profile(name), torch.float32) for name in get_args(ProfileName)]
        for length, shape in {shape.num_samples: shape for shape in shapes}.items():
            try:
                session = captured_speech_encoder(encoder, shape, pool=pool)
                self._admit_speech_encoder(Entrant(session, "one session"))
                pool = session.pool
            except RuntimeError as error:
                self.contest.refuse(f"{SPEECH_ENCODER}, {length} samples", f"it cannot be captured ({error})")

    def admit_export(self, folder: Path, bundle: Manifest) -> None:
        """The export in `folder`, where it can be opened."""
        try:
            export = ExportManifest.read(folder)
            export.check_bundle(bundle)
            profile = self.config.profile(export.profile)
            export.check_signatures(signatures(StaticShape(self.config, profile, export.batch, self.networks.dtype)))
            told = f"{export.profile}, batch {export.batch}, {export.precision}"
            for step in self._opened(export, "step"):
                self._admit_step(Entrant(step, told))
            if decoder := self._opened(export, "decoder_init", "decoder_step"):
                self._admit_decoder(PlannedDecoder(self._vae, *decoder), told)
            for encoder in self._opened(export, "speech_encoder"):
                self._admit_speech_encoder(Entrant(encoder, told))
            if self.networks.clip is not None:
                for tower in self._opened(export, "clip"):
                    self._admit_clip(self.networks.clip, Entrant(tower, told))
        except AvacastError as error:
            self.contest.refuse(folder.name, str(error))

    def _opened(self, export: ExportManifest, *names: str) -> list[GraphSession]:
        """The networks of an export, opened; none where they were tried before."""
        networks = [network for name, network in export.networks.items() if name in names]
        digests = tuple(entry.sha256 for network in networks for entry in network.files.values())
        if digests in self._tried:
            return []
        self._tried.add(digests)
        return [open_graph(export, name, self.networks.device) for name in names]

    def _admit_step(self, entrant: Entrant) -> None:
        batch, _, num_latents, *_ = entrant.session.signature.input("latents").shape
        size = f", {batch} x {num_latents} latent frames"
        self.contest.enter(TRANSFORMER, entrant, lambda inputs: _dit_call(self.networks, inputs), size)

    def _admit_decoder(self, decoder: PlannedDecoder, told: str) -> None:
        entrant = Entrant(decoder.step, told)
        if self.contest.enter(DECODER, entrant, lambda inputs: _decoder_call(self.networks, inputs.values())):
            self._decoder = decoder

    def _admit_speech_encoder(self, entrant: Entrant) -> None:
        encoder, size = self.networks.speech_encoder, f", {entrant.shapes[0][1]} samples"
        self.contest.enter(SPEECH_ENCODER, entrant, lambda inputs: partial(encoder, inputs["waveform"].float()), size)

    def _admit_clip(self, clip: ClipVision, entrant: Entrant) -> None:
        dtype = self.networks.dtype
        self.contest.enter(CLIP, entrant, lambda inputs: partial(clip, inputs["picture"].to(dtype)))

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
