"""The one door of the engine: a model is loaded once, and every stream of it is a session.

    sound ──▶ audio features ─┐
    picture ─▶ reference ─────┼─▶ noise ─▶ [dit ─▶ euler ─▶ fuse] × steps ─▶ pop ─▶ decode ─▶ frames

The pipeline holds weights and configuration, no state of any stream. The boxes between sound and frames are joined in
`session.py`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from avacast.engine.audio_features import SpeechEncoder
from avacast.engine.bundle import Bundle, adopt_weights, load_bundle, load_weights
from avacast.engine.clip import ClipVision
from avacast.engine.config import ModelConfig
from avacast.engine.dit import DiT
from avacast.engine.errors import BadSetting
from avacast.engine.flow_matching import Schedule
from avacast.engine.networks import Networks, build_vae
from avacast.engine.portrait import Picture
from avacast.engine.reference import Reference, prepare_portrait
from avacast.engine.session import Session
from avacast.engine.text_states import TextStates


class Pipeline:
    """Networks and configuration of one avatar model, shared by its sessions."""

    def __init__(self, config: ModelConfig, networks: Networks) -> None:
        self.config = config
        self.networks = networks
        self.schedule = Schedule.of(config.sampler)

    @classmethod
    def load(cls, bundle: Path, *, device: str = "cpu", dtype: torch.dtype | None = None) -> Pipeline:
        """Loads the model in the folder `bundle`. `dtype` None is `default_dtype(device)`.

        Raises BadBundle when the folder is missing, damaged or does not fit its configuration.
        """
        opened = load_bundle(bundle)
        dtype = dtype or default_dtype(device)
        return cls(opened.config, _load_networks(opened, dtype).for_inference(device, dtype))

    @classmethod
    def with_random_weights(
        cls, config: ModelConfig, seed: int = 0, *, device: str = "cpu", dtype: torch.dtype | None = None
    ) -> Pipeline:
        """An untrained model, equal for equal seeds: the cost of the real one, for tests and benchmarks."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            networks = Networks.build(config)
            # Training starts from a head of zeros, behind which no input would make a difference.
            torch.nn.init.xavier_uniform_(networks.dit.head.head.weight)
        return cls(config, networks.for_inference(device, dtype or default_dtype(device)))

    def open_session(self, picture: Picture, *, seed: int = 0) -> Session:
        """Begins a stream that animates `picture`, uint8 `[H, W, 3]`; equal seeds and sound give equal frames.

        Raises BadPortrait when `picture` has another shape or type, BadSetting for a negative seed.
        """
        if seed < 0:
            raise BadSetting(f"the seed must be 0 or a positive whole number, not {seed}")
        return Session(self.networks, self.config, self.schedule, self.reference(picture), seed)

    def reference(self, picture: Picture) -> Reference:
        """Everything about `picture`, uint8 `[H, W, 3]`, that stays the same for a whole stream. Raises BadPortrait."""
        config = self.config
        portrait = prepare_portrait(picture, config.height, config.width)
        with torch.inference_mode():
            reference = Reference.encode(self.networks.encode, portrait, config.dit.reference_on, config.window.window)
            return replace(reference, image=self.networks.see(portrait))

    def describe(self) -> str:
        """One line for people: model, size, steps, windows, precision and device."""
        config, window = self.config, self.config.window
        return (
            f"{config.name}: {config.width}x{config.height} at {config.fps} fps, {config.sampler.num_steps} steps, "
            f"windows of {window.window} latent frames every {window.hop}, "
            f"{str(self.networks.dtype).removeprefix('torch.')} on {self.networks.device}"
        )


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


def default_dtype(device: str) -> torch.dtype:
    """bfloat16 where the device multiplies it in hardware (CUDA; AMX or AVX-512 BF16 on a CPU), else float32."""
    if torch.device(device).type != "cpu":
        return torch.bfloat16
    abilities = torch.cpu.get_capabilities()
    has_bfloat16 = abilities.get("amx_bf16", False) or abilities.get("avx512_bf16", False)
    return torch.bfloat16 if has_bfloat16 else torch.float32
