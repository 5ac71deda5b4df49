"""The one door of the engine: a model is loaded once, and every stream of it is a session.

    sound ──▶ audio features ─┐
    picture ─▶ reference ─────┼─▶ noise ─▶ [dit ─▶ euler ─▶ fuse] × steps ─▶ pop ─▶ decode ─▶ frames

The pipeline holds weights and configuration, no state of any stream. The boxes between sound and frames are joined in
`session.py`.
"""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from avacast.engine.bundle import Bundle, adopt_weights, load_bundle, load_weights
from avacast.engine.clip import ClipVision
from avacast.engine.config import ModelConfig
from avacast.engine.dit import DiT
from avacast.engine.errors import BadSetting
from avacast.engine.flow_matching import Schedule
from avacast.engine.manifest import Manifest
from avacast.engine.networks import Networks, build_vae
from avacast.engine.plan_choice import choose_plans
from avacast.engine.portrait import Picture
from avacast.engine.precision import Precision
from avacast.engine.precision_choice import choose_precision
from avacast.engine.profile import Profile, ProfileName
from avacast.engine.reference import Reference, picture_of, prepare_portrait
from avacast.engine.reference_detail import ReferenceDetail
from avacast.engine.session import Session
from avacast.engine.side_stream import lines_of
from avacast.engine.speech_encoder import SpeechEncoder
from avacast.engine.text_states import TextStates

_log = logging.getLogger(__name__)


class Pipeline:
    """Networks and configuration of one avatar model, shared by its sessions."""

    def __init__(self, config: ModelConfig, networks: Networks) -> None:
        self.config = config
        self.networks = networks
        self.schedule = Schedule.of(config.sampler)

    @classmethod
    def load(cls, bundle: Path, *, device: str = "cpu", dtype: torch.dtype | Precision | None = None) -> Pipeline:
        """Loads the model in the folder `bundle`. `dtype` None is `choose_precision`: what is fastest here.

        Raises BadBundle when the folder is missing, damaged or does not fit its configuration.
        """
        opened = load_bundle(bundle)
        precision = Precision.of(dtype or choose_precision(opened.config, device))
        return cls(opened.config, _load_networks(opened, precision.dit).for_inference(device, precision))

    @classmethod
    def load_fastest(
        cls,
        bundle: Path,
        *,
        device: str = "cpu",
        dtype: torch.dtype | Precision | None = None,
        exports: Path | None = None,
    ) -> Pipeline:
        """`load`, and every network then runs in what is fastest here: see `choose_plans`, which logs what and why.

        `exports` is the folder of the model's exports, None the bundle's own. What is chosen may change from one start
        to the next, and the last bits of the frames with it. Raises BadBundle, as `load`.
        """
        pipeline = cls.load(bundle, device=device, dtype=dtype)
        plans, _ = choose_plans(pipeline.config, pipeline.networks, Manifest.read(bundle), exports)
        return cls(pipeline.config, replace(pipeline.networks, plans=plans))

    @classmethod
    def with_random_weights(
        cls, config: ModelConfig, seed: int = 0, *, device: str = "cpu", dtype: torch.dtype | Precision | None = None
    ) -> Pipeline:
        """An untrained model, equal for equal seeds: the cost of the real one, for tests and benchmarks."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            networks = Networks.build(config)
            # Training starts from a head of zeros, behind which no input would make a difference.
            torch.nn.init.xavier_uniform_(networks.dit.head.head.weight)
        return cls(config, networks.for_inference(device, dtype or choose_precision(config, device)))

    def open_session(
        self,
        picture: Picture,
        *,
        seed: int = 0,
        profile: ProfileName | Profile = "mic",
        interruptible: bool = False,
    ) -> Session:
        """Begins a stream that animates `picture`, uint8 `[H, W, 3]`; equal seeds and sound give equal frames.

        An `interruptible` one remembers a few states, so that `Session.interrupt` can take frames back.

        Raises BadPortrait when `picture` has another shape or type, BadSetting for a negative seed or a profile that
        the model does not have.
        """
        if seed < 0:
            raise BadSetting(f"the seed must be 0 or a positive whole number, not {seed}")
        if isinstance(profile, str):
            profile = self.config.profile(profile)
        reference = self.reference(picture)
        return Session(self.networks, self.config, profile, reference, seed, interruptible=interruptible)

    def reference(self, picture: Picture) -> Reference:
        """Everything about `picture`, uint8 `[H, W, 3]`, that stays the same for a whole stream. Raises BadPortrait."""
        config = self.config
        portrait = prepare_portrait(picture, config.height, config.width)
        with torch.inference_mode():
            reference = Reference.encode(self.networks.encode, portrait, config.dit.reference_on, config.longest_window)
            reference = replace(reference, image=self.networks.see(portrait))
            if config.familiar_psnr_db is None and not config.reference_detail:
                return reference
            redrawn = self._redrawn(reference.latents[:, :1])
        detail = _detail(portrait, redrawn) if config.reference_detail else None
        return replace(reference, detail=detail, familiar=self._is_familiar(portrait, redrawn))

    def _redrawn(self, latents: Tensor) -> Tensor:
        """What the auto-encoder makes of one picture, from its latents `[C, 1, h, w]`: `[3, H, W]` in 0..1."""
        # The sessions' pictures are made on a line of their own, in the same decoder.
        lines_of(self.networks.device).showing.join()
        return self.networks.decode(latents[None], None)[0][0].cpu()

    def _is_familiar(self, portrait: Tensor, redrawn: Tensor) -> bool:
        """What the auto-encoder cannot draw, the model can animate only as well as it can: it was not made for it."""
        limit_db = self.config.familiar_psnr_db
        error = max(float((redrawn - portrait).square().mean()), 1e-9)
        return limit_db is None or 10 * math.log10(1 / error) >= limit_db

    def describe(self) -> str:
        """One line for people: model, size, steps, windows, precision and device."""
        config, window = self.config, self.config.window
        return (
            f"{config.name}: {config.width}x{config.height} at {config.fps} fps, {config.sampler.num_steps} steps, "
            f"windows of {window.window} latent frames every {window.hop}, "
            f"{self.networks.precision} on {self.networks.device}"
        )


def _detail(portrait: Tensor, redrawn: Tensor) -> ReferenceDetail | None:
    """Of `portrait` `[3, H, W]` in 0..1. None where OpenCV is missing: the frames are softer then."""
    try:
        return ReferenceDetail(picture_of(portrait), picture_of(redrawn))
    except ImportError as error:
        _log.warning("frames go without the picture's detail (%s); pip install opencv-python-headless", error)
        return None


def _load_networks(bundle: Bundle, dtype: torch.dtype) -> Networks:
    """The weights of an opened bundle. The large networks take them over in `dtype`, without a start of their own."""
    config = bundle.config

    def load(module: nn.Module, name: str) -> None:
        load_weights(module, bundle.tensors(name), source=bundle.source(name))

    def adopt(module: nn.Module, name: str) -> None:
        adopt_weights(module, bundle.tensors(name), dtype, source=bundle.source(name))

    with torch.device("meta"):
        dit, clip = DiT(config.dit), ClipVision(config.clip) if config.clip else None
    vae, speech_encoder = build_vae(config.vae), SpeechEncoder(config.audio)
    live_vae = build_vae(config.live_vae) if config.live_vae else None
    adopt(dit, "dit")
    load(vae, "vae")
    load(speech_encoder, "speech_encoder")
    if clip is not None:
        adopt(clip, "clip")
    if live_vae is not None:
        load(live_vae, "live_vae")
    text = None
    if config.prompts is not None:
        text = TextStates.from_tensors(bundle.tensors("prompts"), config.dit, source=bundle.source("prompts"))
    return Networks(dit, vae, speech_encoder, clip, text, live_vae)
