"""The state of an unfinished offline rendering on disk, so that the same command goes on where it stopped.

It knows a file of latents and which work they belong to; it knows nothing of how they are made.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from avacast.engine.errors import BadSetting, Unavailable

_STEPS, _WORK = "steps_done", "work"


@dataclass(frozen=True)
class SavedState:
    """The file `path`, for the work that `fingerprint` names."""

    path: Path
    fingerprint: str

    def load(self) -> tuple[int, Tensor] | None:
        """Steps done and the latents `[1, C, L, h, w]` after them; None where nothing was saved.

        Raises BadSetting when the file is damaged or of other work, which is left alone.
        """
        if not self.path.exists():
            return None
        try:
            with safetensors.safe_open(self.path, "pt") as file:
                about = file.metadata() or {}
                latents = file.get_tensor("latents").clone()
            steps_done = int(about[_STEPS])
        except (safetensors.SafetensorError, OSError, KeyError, ValueError) as error:
            raise BadSetting(f"{self.path} is no state of a rendering, or damaged; delete it to start anew") from error
        if about.get(_WORK) != self.fingerprint:
            raise BadSetting(
                f"{self.path} is the unfinished rendering of another picture, sound, model or setting; "
                "repeat that command to go on with it, or delete the file to start anew"
            )
        return steps_done, latents

    def save(self, steps_done: int, latents: Tensor) -> None:
        """Replaces what was saved before, whole or not at all. Raises Unavailable when the disk refuses.

        It does not wait for the disk, which nothing could interrupt: a power cut may take the state, a crash does not.
        """
        partial = self.path.with_name(f".{self.path.name}.partial")
        about = {_STEPS: str(steps_done), _WORK: self.fingerprint}
        try:
            content = safetensors.torch.save({"latents": latents.cpu().contiguous()}, about)
            partial.write_bytes(content)
            partial.replace(self.path)
        except OSError as error:
            raise Unavailable(f"{self.path} could not be written ({error.strerror}); check disk and rights") from error
        finally:
            partial.unlink(missing_ok=True)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
