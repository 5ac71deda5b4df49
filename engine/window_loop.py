"""All denoising steps of one window, with the fusion of its head, as one function of tensors: what a graph captures.

Knows the order of steps and what they are given by name. Holds no state of a stream: the tails of the windows before
come in, the window after every step goes out. It does what `RingBuffer` does where nothing looks ahead, without asking
the host anything on the way.

Shapes: B batch, C latent channels, F latent frames of a window, O of them overlapped, h x w latent cells, S steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from avacast.engine.dit import DiT
from avacast.engine.flow_matching import euler_step
from avacast.engine.graph import Tensors
from avacast.engine.graph_signature import GraphSignature, TensorSpec
from avacast.engine.modulation import sinusoid
from avacast.engine.networks import velocity_of
from avacast.engine.static_form import StaticShape, step_signature
from avacast.engine.step_graph import StepGraph, step_tensors
from avacast.engine.whole_window import WholeWindow
from avacast.kernels.overlap_fusion import fuse_overlap

STREAM = ("noise", "tails", "weights", "sigmas", "timesteps")
"""Inputs of a window that no single pass has; all float32."""


class WindowLoop:
    """Calling it denoises one window; see `loop_signature` for what it takes."""

    def __init__(self, step: StepGraph) -> None:
        self._step = step

    def __call__(self, inputs: Tensors) -> Tensor:
        """The window after every step, float32 [S, B, C, F, h, w]; the last is what the sampler made.

        Takes `noise` [B, C, F, h, w], `tails` [S, B, C, O, h, w] and `weights` [S, O], one throughout where a step or a
        stream's first window is left unfused; `sigmas` [S+1] and `timesteps` [S]; and what `StepGraph` reads beside
        latents and timestep.
        """
        latents, tails, weights, sigmas, timesteps = (inputs[name] for name in STREAM)
        given = {name: tensor for name, tensor in inputs.items() if name not in STREAM}
        config, reference = self._step.dit.config, inputs["reference"]
        windows: list[Tensor] = []
        for step, (tail, weight) in enumerate(zip(tails.unbind(), weights.unbind(), strict=True)):
            sigma, moment = sigmas[step], timesteps[step].expand(latents.shape[0])
            output = self._step(
                latents=latents.to(reference.dtype), timestep=sinusoid(moment, config.freq_dim), **given
            ).float()
            velocity = velocity_of(config, output, latents, sigma, reference)
            latents = fuse_overlap(euler_step(latents, velocity, sigma, sigmas[step + 1]), tail, weight)
            windows.append(latents)
        return torch.stack(windows)


def loop_tensors(dit: DiT, window: WholeWindow) -> dict[str, Tensor]:
    """Inputs of `WindowLoop` by name, without those of `still_conditions`."""
    given, schedule = window.conditions, window.schedule
    heard = (given.reference, given.audio, given.audio_mask, given.motion)
    tensors = step_tensors(dit, window.noise, schedule.timesteps[:1], *heard)
    del tensors["latents"], tensors["timestep"]
    own = (window.noise, window.tails, window.weights, schedule.sigmas, schedule.timesteps)
    return {**dict(zip(STREAM, own, strict=True)), **tensors}


def loop_signature(shape: StaticShape, num_steps: int) -> GraphSignature:
    """Of `WindowLoop` for windows of that shape in `num_steps` steps."""
    overlap = shape.profile.window.overlap
    batch, channels, _, *size = shape.latents
    own = (
        shape.latents,
        (num_steps, batch, channels, overlap, *size),
        (num_steps, overlap),
        (num_steps + 1,),
        (num_steps,),
    )
    inputs = [TensorSpec(name, size, torch.float32) for name, size in zip(STREAM, own, strict=True)]
    inputs += [spec for spec in step_signature(shape).inputs if spec.name not in ("latents", "timestep")]
    return GraphSignature(tuple(inputs), (TensorSpec("windows", (num_steps, *shape.latents), torch.float32),))
