"""The pictures of one stream's latents, with the reference's detail, and the points to which its decoder can go back.

Knows the decoder's state between two windows, and that a point may be an older state with the latents since. A GPU
holds no state but the one at hand: those of the points wait on the host. Runs beside the transformer's line of work.
Knows no windows and no numbers of frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from avacast.engine.networks import Networks
from avacast.engine.offload import Offload
from avacast.engine.reference_detail import Motion, ReferenceDetail
from avacast.engine.resting_state import Resting, at_rest, awake, moved, num_bytes, tensors_of
from avacast.engine.side_stream import Fetched, lines_of

SMALL_BYTES = 100_000_000
"""A state up to this size is kept for every point: the tiny decoder's takes some MB, the Wan VAE's nearly a GB."""

MAX_BEHIND = 8
"""Latent frames, at most, that are decoded once more to go back to a point between two larger states."""


@dataclass(frozen=True, eq=False)
class DecoderPoint:
    """Where a stream's decoder stood: a state, and what it was given since."""

    state: Resting | None = None
    motion: Motion | None = None
    """Of the last frame of `state`, where frames get the reference's detail."""
    since: tuple[Tensor, ...] = ()
    """The latents of every call after it."""

    @property
    def tensors(self) -> list[Tensor]:
        """What it keeps in memory; points that follow each other may share some."""
        return [*self.since, *(tensors_of(self.state) if self.state else ())]


class StreamDecoder:
    """`Networks.decode` over a whole stream."""

    def __init__(
        self,
        networks: Networks,
        *,
        goes_back: bool,
        detail: ReferenceDetail | None = None,
        small_bytes: int = SMALL_BYTES,
        packs: bool | None = None,
        offload: Offload | None = None,
    ) -> None:
        """One that `goes_back` will be asked for many points: of a large state not all are kept as states.

        Frames get `detail`, which is the host's work and waits for a GPU. `packs` says whether states are packed
        between two calls; None does so on a GPU, where it costs a millisecond. `offload` takes the states of one that
        `goes_back` to the host.
        """
        self._networks = networks
        self._packs = networks.device.type == "cuda" if packs is None else packs
        self._line = lines_of(networks.device).showing
        self._small_bytes = small_bytes if goes_back else None
        self._offload = offload or Offload(networks.device)
        self._detail = detail
        self._state: Resting | None = None
        self._motion: Motion | None = None
        self._point = DecoderPoint()
        self._missed: tuple[Tensor, ...] = ()
        """Of the present point, what the state at hand has not been given yet."""

    @property
    def point(self) -> DecoderPoint:
        """Where the decoder stands. Cheap: tensors are shared, never written to."""
        return self._point

    def go_to(self, point: DecoderPoint) -> None:
        """Goes to a point, back or on; what has to be decoded once more for it is decoded with what comes next."""
        self._point, self._motion, self._missed = point, point.motion, point.since
        with self._line.beside_main():
            self._state = None if point.state is None else moved(point.state, self._offload.to_device())

    def decode(self, latents: Tensor) -> Fetched:
        """The frames of the next latents `[1, C, L, h, w]`, uint8 `[T, H, W, 3]`, on their way to the host."""
        with self._line.after_main(latents, *self._missed):
            for missed in self._missed:
                self._advance(missed)
            self._missed = ()
            pictures = self._advance(latents)
            self._point = self._next_point(latents)
            return pictures

    def _advance(self, latents: Tensor) -> Fetched:
        # At rest after every call, so that decoding once more gives the same to the last bit.
        frames, state = self._networks.decode(latents, awake(self._state))
        self._state = at_rest(state) if self._packs else state
        pictures = Fetched((frames * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous())
        if self._detail is None:
            return pictures
        restored, self._motion = self._detail.restore(pictures.wait().numpy(), self._motion)
        return Fetched(torch.from_numpy(restored))

    def _next_point(self, latents: Tensor) -> DecoderPoint:
        since, state = (*self._point.since, latents), self._state
        assert state is not None
        num_behind = sum(given.shape[2] for given in since)
        if self._small_bytes is None:
            return DecoderPoint(state, self._motion)
        if num_bytes(state) > self._small_bytes and num_behind <= MAX_BEHIND:
            return DecoderPoint(self._point.state, self._point.motion, since)
        with self._offload.to_host() as move:
            return DecoderPoint(moved(state, move), self._motion)
