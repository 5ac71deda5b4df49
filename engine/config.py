"""The description of a model: frozen, checked on entry, unknown keys refused.

This module knows what there is to say of a model, its sizes and rates; it knows no model by name, and nothing of
tensors, files or devices.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from avacast.engine.errors import BadSetting
from avacast.engine.frozen_config import FrozenConfig
from avacast.engine.profile import Profile, ProfileName, Profiles, SamplerConfig, WindowConfig

SAMPLE_RATE_HZ = 16_000
"""Rate of all audio inside the engine (wav2vec2's)."""

TEMPORAL_STRIDE = 4
"""Video frames made by one latent frame (all but the first, which makes one)."""

SPATIAL_STRIDE = 8
"""Pixels of one latent cell's side."""


@dataclass(frozen=True)
class DiTConfig(FrozenConfig):
    """Sizes of the diffusion transformer and its audio adapter. Defaults: StableAvatar 1.3B."""

    dim: int = 1536
    ffn_dim: int = 8960
    num_heads: int = 12
    num_layers: int = 30
    freq_dim: int = 256
    patch_size: tuple[int, int, int] = (1, 2, 2)
    latent_channels: int = 16
    text_dim: int = 4096
    """Width of the text encoder's states; 0 leaves the text attention out."""
    text_len: int = 512
    clip_dim: int = 1280
    """Width of the CLIP tokens; 0 leaves the image attention out."""
    audio_in_dim: int = 768
    audio_num_heads: int = 8
    audio_num_layers: int = 2
    audio_positions: int = 0
    """Learned places for this many audio tokens of a latent frame; 0 has none, as released."""
    motion_dim: int = 0
    """Values of head motion that each latent frame is conditioned on (see `motion`); 0 has none, as released."""
    eps: float = 1e-6
    mask_audio_padding: bool = True
    """Masked: as the model was trained. Unmasked: as the released code runs where flash-attention is missing."""
    reference_on: Literal["first", "all"] = "first"
    """Latent frames of a window that carry the reference: the first (as released) or every one (pocket)."""
    prediction: Literal["velocity", "sample", "residual"] = "velocity"
    """What the last layer means: the flow's velocity; or the clean sample, from which velocity is derived; or the
    sample's difference to the reference, so that what does not move need not pass through the network."""

    def __post_init__(self) -> None:
        if self.dim % self.num_heads or (self.dim // self.num_heads) % 2:
            raise BadSetting(f"dim {self.dim} must split into {self.num_heads} heads of even width")
        if self.dim % self.audio_num_heads:
            raise BadSetting(f"dim {self.dim} must split into {self.audio_num_heads} audio heads")

    @property
    def in_dim(self) -> int:
        """Channels of the patch embedding: noisy latents, four of mask, reference latents."""
        return 2 * self.latent_channels + 4

    @property
    def head_dim(self) -> int:
        return self.dim // self.num_heads


@dataclass(frozen=True)
class VAEConfig(FrozenConfig):
    """The tiny auto-encoder (`taew2_1` layout) or, with `kind="wan"`, the Wan VAE."""

    kind: Literal["tiny", "wan"] = "tiny"
    latent_channels: int = 16
    decoder_widths: tuple[int, int, int, int] = (256, 128, 64, 64)
    encoder_width: int = 64
    latents_mean: tuple[float, ...] = ()
    latents_std: tuple[float, ...] = ()
    """Per-channel scale between the auto-encoder's latents and what the DiT sees; empty for none (of the Wan VAE: for
    the released scale)."""
    base_dim: int = 96
    """Narrowest width of the Wan VAE."""


@dataclass(frozen=True)
class ClipConfig(FrozenConfig):
    """Sizes of the CLIP visual tower. Defaults: ViT-H/14 as Wan 2.1 uses it."""

    image_size: int = 224
    patch_size: int = 14
    dim: int = 1280
    mlp_dim: int = 5120
    num_heads: int = 16
    num_layers: int = 32
    """As in the checkpoint; the last one is left out, since the tokens are taken before it."""
    eps: float = 1e-5


@dataclass(frozen=True)
class PromptsConfig(FrozenConfig):
    """What a model that reads text is told where the user says nothing. The defaults are ours."""

    positive: str = (
        "A person faces the camera and talks in a calm, natural voice. The lips follow every word, the eyes are alive "
        "and blink now and then, the head moves a little. Steady camera, even light, sharp picture, still background."
    )
    negative: str = (
        "blurred, out of focus, overexposed, washed-out colours, flicker, still picture, frozen face, distorted mouth, "
        "malformed hands, deformed face, text, subtitles, watermark, compression artefacts, worst quality"
    )


@dataclass(frozen=True)
class AudioConfig(FrozenConfig):
    """The wav2vec2 encoder and how its tokens are dealt out to latent frames."""

    wav2vec2: dict[str, Any] = field(default_factory=dict[str, Any])
    """Keyword arguments of transformers' `Wav2Vec2Config`; empty is wav2vec2-base."""
    normalize: bool = True
    """Zero mean and unit variance over the waveform (wav2vec2-base-960h); the pocket encoder takes it as it is."""
    alignment: Literal["window", "stream"] = "window"
    """`window`: the released split, stretched over a window. `stream`: each latent frame hears its own time."""
    margin: int = 4
    """Tokens added on either side of a latent frame's own."""
    left_context_s: float = 8.0
    right_context_tokens: int = 4
    """Tokens beyond the last needed one that the encoder sees before it answers."""


@dataclass(frozen=True)
class ModelConfig(FrozenConfig):
    """One whole avatar model."""

    name: str
    dit: DiTConfig = field(default_factory=DiTConfig)
    vae: VAEConfig = field(default_factory=VAEConfig)
    audio: AudioConfig = field(default_factory=AudioConfig)
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    window: WindowConfig = field(default_factory=WindowConfig)
    """Windows in which the model was trained, and which profiles have that name no others."""
    profiles: Profiles = field(default_factory=Profiles)
    clip: ClipConfig | None = None
    """The tower that makes the image tokens of a model with `dit.clip_dim`."""
    prompts: PromptsConfig | None = None
    """The default prompts of a model with `dit.text_dim`."""
    live_vae: VAEConfig | None = None
    """A lighter auto-encoder of the same latents that live sessions decode with; None decodes with `vae`."""
    familiar_psnr_db: float | None = None
    """A picture that the auto-encoder gives back worse than this is unlike those that the model was made for; None for
    a model that was made for all."""
    reference_detail: bool = False
    """Whether frames show the reference picture's own detail where it only moved; for auto-encoders of few channels."""
    fps: int = 25
    height: int = 512
    width: int = 512

    def __post_init__(self) -> None:
        if bool(self.dit.clip_dim) != (self.clip is not None) or bool(self.dit.text_dim) != (self.prompts is not None):
            raise BadSetting(f"model {self.name}: `clip` goes with dit.clip_dim and `prompts` with dit.text_dim")

    def profile(self, name: ProfileName) -> Profile:
        """The model's profile of that name. Raises BadSetting for a name that is none."""
        most = self.sampler.num_steps - 1
        match name:
            case "mic":
                return self.profiles.mic or Profile(self.window)
            case "tts":
                return self.profiles.tts or Profile(self.window, most, "take")
            case "offline":
                return self.profiles.offline or Profile(replace(self.window, settle=None), most)
        raise BadSetting(f"there is no profile {name!r}; there are {', '.join(get_args(ProfileName))}")

    def idle(self, profile: Profile) -> Profile:
        """For an avatar that is silent in a session of that profile: the same windows in half the steps."""
        sampler = profile.sampler or self.sampler
        return replace(profile, lookahead=0, sampler=replace(sampler, num_steps=max(1, sampler.num_steps // 2)))

    @property
    def longest_window(self) -> int:
        """Latent frames of the longest window that any profile has."""
        return max(self.window.window, *(self.profile(name).window.window for name in get_args(ProfileName)))

    @property
    def samples_per_frame(self) -> int:
        """Audio samples of one video frame."""
        return SAMPLE_RATE_HZ // self.fps

    @property
    def latent_size(self) -> tuple[int, int]:
        """Height and width of a latent frame."""
        return self.height // SPATIAL_STRIDE, self.width // SPATIAL_STRIDE
