"""Streams as a GPU runs them best: the loop of a window as one graph, the decoder as another, features beside both.

Knows the order of the parts and which of them overlap. Its conditions are random and its sound is noise: what it costs
is real, what it shows is not.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from avacast.bench.decoding import decoder_call, decoder_graph, first_past, to_pictures
from avacast.bench.workbench import Workbench
from avacast.engine.audio_split import window_split
from avacast.engine.flow_matching import Schedule
from avacast.engine.graph import Graph, StaticBuffers, Tensors
from avacast.engine.guidance import Conditioning
from avacast.engine.networks import VAE
from avacast.engine.resting_state import Resting, at_rest, awake
from avacast.engine.side_stream import SideStream
from avacast.engine.step_graph import StepGraph, still_conditions
from avacast.engine.tiny_vae import StreamState
from avacast.engine.wan_vae import WanDecoderState, WanVAE
from avacast.engine.whole_window import WholeWindow, fusion_weights
from avacast.engine.window_loop import WindowLoop, loop_tensors
from avacast.engine.windows import frames_of_latents


@dataclass(frozen=True)
class StreamSnapshot:
    """All that the streams remember between two windows."""

    tails: Tensor
    decoder: Resting


class WindowStream:
    """`batch` streams that go from window to window together."""

    def __init__(self, bench: Workbench, vae: VAE, batch: int = 1) -> None:
        config, window = bench.config, bench.config.window
        self.hop, self.batch = window.hop, batch
        self._bench, self._vae = bench, vae
        self._size = (config.height, config.width)
        self._denoise = _loop_graph(bench, batch)
        latent = bench.noise(*self._size, 1, batch).to(bench.dtype)
        self._decode = decoder_graph(bench, bench.compile(decoder_call(vae)), latent, first_past(vae, latent))
        self._listening, self._showing = SideStream(bench.device), SideStream(bench.device)
        self._waveform = torch.randn(batch, bench.num_samples(window.window), device=bench.device)
        num_tokens = bench.num_tokens(window.window)
        index, mask = window_split(num_tokens, frames_of_latents(window.window), config.audio.margin)
        self._index, self._mask = index.to(bench.device), mask.to(bench.device)
        pictures = (batch, 4 * self.hop, *self._size, 3)
        self._pictures = torch.empty(pictures, dtype=torch.uint8, pin_memory=bench.on_gpu)

    @property
    def _past_names(self) -> list[str]:
        return [name for name in self._decode.buffers.tensors if name != "latents"]

    @property
    def num_frames(self) -> int:
        """Video frames of one window of all streams."""
        return self.batch * 4 * self.hop

    @property
    def state_mb(self) -> float:
        """What one stream remembers between windows."""
        past = self._decode.buffers.num_bytes
        return (self._denoise.buffers["tails"].nbytes + past) / self.batch / 1e6

    def run(self, num_windows: int) -> None:
        """Makes the frames of so many windows, the features of each while the one before is denoised."""
        following = self._hear()
        for _ in range(num_windows):
            audio = following
            self._listening.join(audio)
            # Before the window is begun: what is heard waits for all that the main line was given so far.
            following = self._hear()
            latents = self._denoise(audio=audio, noise=self._noise())["latents"]
            # The graph's next replay overwrites what it returned.
            self._show(latents[:, :, -self.hop :].to(self._bench.dtype, copy=True))

    def first_frame(self, snapshot: StreamSnapshot) -> Tensor:
        """The first picture uint8 `[B, 1, H, W, 3]`, on the host, of streams whose first window's sound is here."""
        self.restore(snapshot)
        audio = self._hear()
        self._listening.join(audio)
        latents = self._denoise(audio=audio, noise=self._noise())["latents"]
        frames, _ = self._vae.decode_step(latents[:, :, :1].to(self._bench.dtype), None)
        return to_pictures(frames).cpu()

    def next_frames(self, snapshot: StreamSnapshot) -> Tensor:
        """The four pictures after an interruption: the state of silence is put back, one window and latent are made.

        The features of silence are known beforehand.
        """
        self.restore(snapshot)
        latents = self._denoise(noise=self._noise())["latents"]
        return self._decode(latents=latents[:, :, :1].to(self._bench.dtype))["frames"].cpu()

    def restore(self, snapshot: StreamSnapshot) -> None:
        """Other streams' turn: their state is copied in."""
        self._denoise.buffers.fill({"tails": snapshot.tails})
        state = awake(snapshot.decoder)
        assert state is not None, "a stream that runs has a state"
        self._decode.buffers.fill(dict(zip(self._past_names, state.past, strict=True)))

    def snapshot(self) -> StreamSnapshot:
        """What the streams remember, as a session keeps it."""
        past = tuple(self._decode.buffers[name].clone() for name in self._past_names)
        state = WanDecoderState(past) if isinstance(self._vae, WanVAE) else StreamState(past)
        return StreamSnapshot(self._denoise.buffers["tails"].clone(), at_rest(state))

    def _noise(self) -> Tensor:
        return self._bench.noise(*self._size, self._bench.config.window.window, self.batch)

    def _hear(self) -> Tensor:
        """Conditions `audio` of a window, made beside the main line."""
        with self._listening.after_main():
            tokens = self._bench.networks.speech_encoder(self._waveform)
            return (tokens[:, self._index] * self._mask[..., None]).to(self._bench.dtype)

    def _show(self, latents: Tensor) -> None:
        with self._showing.after_main(latents):
            for index, latent in enumerate(latents.split(1, dim=2)):
                frames = self._decode(latents=latent)["frames"]
                self._pictures[:, 4 * index : 4 * index + 4].copy_(frames, non_blocking=True)


def _loop_graph(bench: Workbench, batch: int) -> Graph:
    """The engine's own loop of a window, compiled, from `audio` and `noise` to `latents`; its tails are carried."""
    config, window, dit = bench.config, bench.config.window, bench.networks.dit
    size, schedule = (config.height, config.width), Schedule.of(config.sampler).to(bench.device)
    given = Conditioning(**bench.conditions(*size, window.window, batch))
    noise, tail = (bench.noise(*size, frames, batch) for frames in (window.window, window.overlap))
    weights = fusion_weights(window, schedule.num_steps, window.overlap).to(bench.device)
    first = WholeWindow(noise, torch.stack([tail] * schedule.num_steps), weights, schedule, given)
    loop = WindowLoop(StepGraph(dit, list(bench.compiled_blocks)))

    def call(buffers: Tensors) -> dict[str, Tensor]:
        windows = loop(buffers)
        return {"latents": windows[-1], "tails": windows[:, :, :, window.hop :]}

    buffers = {**loop_tensors(dit, first), **still_conditions(dit, given.text, given.image)}
    return bench.graph(call, StaticBuffers(buffers))
