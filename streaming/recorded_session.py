"""A session of the engine whose calls are written down, so that `avacast replay` can make the same ones.

It has the calls of the session that live and file rendering use, and adds nothing to them. Knows the engine's door and
the writer; knows no clock and no process.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from avacast.engine.errors import AvacastError, BadSetting
from avacast.engine.manifest import MANIFEST, file_digest
from avacast.streaming.recording import About
from avacast.streaming.recording_writer import RecordingWriter

if TYPE_CHECKING:
    from torch import Tensor

    from avacast.engine.frame import Frame, Showing
    from avacast.engine.networks import Networks
    from avacast.engine.pipeline import Pipeline
    from avacast.engine.profile import Profile
    from avacast.engine.session import DuePass, Session

log = logging.getLogger(__name__)


class RecordedSession:
    """A session and the recording of it."""

    def __init__(self, session: Session, writer: RecordingWriter) -> None:
        self._session = session
        self._writer = writer

    @property
    def networks(self) -> Networks:
        return self._session.networks

    @property
    def profile(self) -> Profile:
        return self._session.profile

    @property
    def finished(self) -> bool:
        return self._session.finished

    def push(self, audio: NDArray[np.float32]) -> None:
        self._session.push(audio)
        self._writer.push(audio)

    def flush(self) -> None:
        self._session.flush()
        self._writer.flushed()

    def change_profile(self, profile: Profile) -> None:
        self._session.change_profile(profile)
        self._writer.profile_changed(profile)

    def pull(self) -> list[Frame]:
        return self.begin().frames()

    def begin(self) -> Showing:
        """As the session's, but it waits: the calls and their frames are written down in order."""
        return self._written("pull", self._session.begin())

    def due(self) -> DuePass | None:
        return self._session.due()

    def accept(self, due: DuePass, velocity: Tensor) -> None:
        self._session.accept(due, velocity)

    def begin_show(self) -> Showing:
        """Ends a step of `batch.step`, which asks `due` before it. It waits, as `begin`."""
        return self._written("step", self._session.begin_show())

    def interrupt(self, frame: int) -> int:
        start = self._session.interrupt(frame)
        self._writer.interrupted(start)
        return start

    def seen(self, frame: int) -> int:
        return self._session.seen(frame)

    def close(self) -> None:
        self._session.close()
        self._writer.close()

    def _written(self, call: str, showing: Showing) -> Showing:
        self._writer.moved_on(call, [frame.image for frame in showing.frames()])
        return showing


AnySession: TypeAlias = "Session | RecordedSession"


@dataclass(frozen=True)
class RecordingFolder:
    """Where sessions are recorded, and the model that they are of. A plain value, which the worker process is given."""

    path: Path
    bundle: Path | None
    """Folder of the model; None is the embedded one."""

    def check(self) -> None:
        """Makes the folder where there is none. Raises BadSetting when nothing can be written there."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadSetting(f"{self.path} cannot hold recordings ({error.strerror}); name another folder") from error
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise BadSetting(f"{self.path} cannot be written to; name another folder for the recordings")

    def begin(
        self, session: Session, pipeline: Pipeline, picture: NDArray[np.uint8], seed: int, label: str
    ) -> RecordedSession:
        """Records `session`, just opened, with `picture` uint8 `[H, W, 3]`, under the time and `label`.

        Raises BadBundle when the model's folder has gone, BadSetting or Unavailable when nothing can be written.
        """
        moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3]
        path = self.path / f"{moment}-{label}"
        about = about_session(pipeline, self.bundle, session.profile, seed)
        return RecordedSession(session, RecordingWriter(path, picture, about))

    def begin_if_possible(
        self, session: Session, pipeline: Pipeline, picture: NDArray[np.uint8], seed: int, label: str
    ) -> AnySession:
        """`begin`, or the session itself where that raises: a viewer is served all the same, and the log tells why."""
        try:
            return self.begin(session, pipeline, picture, seed, label)
        except AvacastError as error:
            log.warning("session %s is not recorded: %s", label, error)
            return session


def about_session(pipeline: Pipeline, bundle: Path | None, profile: Profile, seed: int) -> About:
    """What decides the frames of a session of `pipeline`, which was loaded from `bundle`. Raises BadBundle."""
    import torch

    from avacast.engine.bundle import embedded_bundle

    return About(
        model=pipeline.config.name,
        manifest_sha256=file_digest((bundle or embedded_bundle()) / MANIFEST),
        seed=seed,
        profile=profile.to_dict(),
        device=pipeline.networks.device.type,
        precision=str(pipeline.networks.precision),
        torch=torch.__version__,
        num_threads=torch.get_num_threads(),
        cpu=torch.backends.cpu.get_cpu_capability(),
    )
