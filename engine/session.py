"""One stream: sound pushed in at one end, frames pulled out at the other, and all state of it in between.

A session knows what sound it may be given and how finished latents become numbered frames; how they are made is
`latent_stream`'s. It knows no clock and no thread: work is done in `pull`, about one window at a time, by whoever calls
it; `batch` does the work of several sessions at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avacast.engine.config import SAMPLE_RATE_HZ, ModelConfig
from avacast.engine.errors import BadAudio, SessionClosed
from avacast.engine.frame import Frame, Showing
from avacast.engine.latent_stream import DuePass, LatentState, LatentStream
from avacast.engine.networks import Networks
from avacast.engine.offload import Move, Offload
from avacast.engine.profile import Profile
from avacast.engine.reference import Reference
from avacast.engine.rewind import Rewind
from avacast.engine.stream_decoder import DecoderPoint, StreamDecoder
from avacast.engine.windows import frames_of_latents, latents_for_frames

MAX_WAITING_S = 600
"""Sound that may wait to be turned into frames. Beyond it `push` refuses: a caller that never pulls is a mistake."""


@dataclass(frozen=True)
class SessionState:
    """All that a session remembers, taken between two calls. Restoring it does not use it up."""

    latents: LatentState
    decoder: DecoderPoint
    num_frames_shown: int
    num_frames: int | None

    def moved(self, move: Move) -> SessionState:
        """The same with its latents elsewhere; the decoder sees to its own."""
        return replace(self, latents=self.latents.moved(move))

    @property
    def tensors(self) -> list[Tensor]:
        """All of any size that it keeps in memory."""
        return [*self.latents.tensors, *self.decoder.tensors]


class Session:
    """All state of one stream. Opened by `Pipeline.open_session`; sessions of one pipeline share only its weights."""

    def __init__(
        self,
        networks: Networks,
        config: ModelConfig,
        profile: Profile,
        reference: Reference,
        seed: int,
        *,
        interruptible: bool = False,
    ) -> None:
        self.networks = networks
        self.familiar = reference.familiar
        """Whether the model was made for pictures like this one; others are animated as well as it can."""
        self._samples_per_frame = config.samples_per_frame
        self._latents = LatentStream(networks, config, profile, reference, seed)
        self._offload = Offload(networks.device)
        self._decoder = StreamDecoder(networks, goes_back=interruptible, detail=reference.detail, offload=self._offload)
        self._num_frames_shown = 0
        self._num_frames: int | None = None
        self._closed = False
        self._rewind = Rewind(self.snapshot(), self._offload) if interruptible else None

    @property
    def profile(self) -> Profile:
        """The profile that is asked for; it holds from the next window on."""
        self._check_open()
        return self._latents.profile

    def push(self, audio: NDArray[np.float32]) -> None:
        """Appends sound: float `[N]`, mono, 16 kHz, clipped to -1..1; any N. Cheap, no network runs.

        Raises BadAudio for another shape or type, NaN or infinity, or more than ten minutes waiting; SessionClosed
        after `flush` or `close`.
        """
        self._check_open()
        if self._num_frames is not None:
            raise SessionClosed("the session takes no more sound after its flush; open a new one")
        if audio.ndim != 1 or not np.issubdtype(audio.dtype, np.floating):
            raise BadAudio(f"sound is float [N], mono, 16 kHz, not {audio.dtype} {list(audio.shape)}; convert it first")
        if not np.isfinite(audio).all():
            raise BadAudio("the sound holds NaN or infinite samples; check where it comes from")
        shown = self._samples_per_frame * frames_of_latents(self._latents.num_left)
        if self._latents.features.samples.num_samples + len(audio) - shown > MAX_WAITING_S * SAMPLE_RATE_HZ:
            raise BadAudio(f"more than {MAX_WAITING_S} s of sound would wait; pull frames before pushing more")
        self._latents.features.push(np.clip(audio, -1, 1).astype(np.float32))

    def flush(self) -> None:
        """Ends the sound. From now on `pull` runs out the last, shorter windows; a second flush does nothing."""
        self._check_open()
        if self._num_frames is None:
            features = self._latents.features
            features.flush()
            self._num_frames = -(-features.samples.num_samples // self._samples_per_frame)

    def change_profile(self, profile: Profile) -> None:
        """Goes on in another profile of the model from the next window; windows in flight finish first.

        Raises BadSetting where the profile looks further ahead than it has steps.
        """
        self._check_open()
        self._latents.change_profile(profile)

    def pull(self) -> list[Frame]:
        """The next frames in order, after the work of about one window; empty when more sound is needed, or none left.

        Raises SessionClosed after `close`.
        """
        return self.begin().frames()

    def begin(self) -> Showing:
        """`pull` without waiting for a GPU: the frames are on their way, and another session may begin meanwhile."""
        self._check_open()
        with torch.inference_mode():
            while not (showing := self.begin_show()).num_frames:
                due = self.due()
                if due is None:
                    break
                self._run(due)
            self._latents.listen_ahead(self._end)
        return showing

    def _run(self, due: DuePass) -> None:
        """The pass that is due, or all passes of its window at once where these can be run so."""
        loop = self.networks.plans.loop
        window = None if loop is None else self._latents.whole(due)
        if loop is not None and window is not None and loop.fits(window):
            self._latents.accept_whole(due, loop(window))
        else:
            self.accept(due, self.networks.velocity(due.latents, due.sigma, due.timestep, due.conditions))

    def due(self) -> DuePass | None:
        """The network's next pass, if there is sound for it. Whoever runs it hands the velocity to `accept`."""
        self._check_open()
        return self._latents.due(self._end)

    def accept(self, due: DuePass, velocity: Tensor) -> None:
        """Takes the `velocity` `[1, C, F, h, w]` of the pass that was due."""
        self._latents.accept(due, velocity)

    def begin_show(self) -> Showing:
        """Begins to decode the latent frames that have become final, each once; it is empty when there are none."""
        first, latents = self._num_frames_shown, self._latents.pop(self._end)
        if latents is None:
            return Showing(first, 0, None)
        images = self._decoder.decode(latents)
        num_frames = images.length
        if self._num_frames is not None:  # the last latent frame makes up to three frames too many
            num_frames = max(0, min(num_frames, self._num_frames - first))
        self._num_frames_shown += num_frames
        if self._rewind and num_frames:
            self._rewind.add(self.snapshot())
        return Showing(first, num_frames, images)

    def interrupt(self, frame: int) -> int:
        """Takes back what was made of sound from about `frame` on: goes to the last point at or before it.

        Returns the number of the frame that comes next; frames from there on that were pulled before are void, the
        sound that they were to show is forgotten, and so is a flush. What is pushed now follows the frames that stand:
        its first window is fused over their tail, so that with silence the mouth closes and nothing jumps. There are as
        many points as memory is set aside for (see `rewind`): asked for more, it goes back to the oldest. Only for a
        session that was opened `interruptible`.
        """
        self._check_open()
        assert self._rewind, "the session was not opened interruptible"
        self._return_to(self._rewind.back_to(frame))
        self._num_frames = None
        self._latents.cut()
        return self._num_frames_shown

    def seen(self, frame: int) -> int:
        """The frames before `frame` stand: no interruption will ask for them. Lets memory go.

        Returns the earliest frame to which an interruption can still go back.
        """
        self._check_open()
        assert self._rewind, "the session was not opened interruptible"
        return self._rewind.forget(frame)

    @property
    def num_bytes_of_points(self) -> int:
        """The memory that the points take to which an interruption can go back: the host's where there is a GPU."""
        self._check_open()
        return self._rewind.num_bytes if self._rewind else 0

    @property
    def finished(self) -> bool:
        """Whether the sound was flushed and its last frame pulled."""
        return self._num_frames is not None and self._num_frames_shown >= self._num_frames

    def __enter__(self) -> Session:
        """The session itself, which is closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the session and lets its state go; closing twice does nothing."""
        if not self._closed:
            self._closed = True
            del self._latents, self._decoder, self._rewind

    def snapshot(self) -> SessionState:
        """The session as it stands. Cheap: tensors are shared, never written to."""
        self._check_open()
        return SessionState(self._latents.snapshot(), self._decoder.point, self._num_frames_shown, self._num_frames)

    def restore(self, state: SessionState) -> None:
        """Goes back to (or on from) a snapshot of a session with the same pipeline, picture and seed.

        An interruption then leads no further back than to this snapshot.
        """
        self._check_open()
        self._return_to(state)
        if self._rewind:
            self._rewind = Rewind(state, self._offload)

    def _return_to(self, state: SessionState) -> None:
        self._latents.restore(state.latents)
        self._decoder.go_to(state.decoder)
        self._num_frames_shown = state.num_frames_shown
        self._num_frames = state.num_frames

    def _check_open(self) -> None:
        if self._closed:
            raise SessionClosed("the session is closed; open a new one")

    @property
    def _end(self) -> int | None:
        """Latent frames of the whole stream, once it was flushed."""
        return None if self._num_frames is None else latents_for_frames(self._num_frames)
