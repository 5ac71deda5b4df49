"""Where a fine-tuning run keeps everything, and that it goes on only as it was begun.

    finetune.json         what the run is
    cache/                the clips, encoded
    finetune.pt           where training stands
    preview_000100.png    true pictures above generated ones
    adapter.safetensors   what was learnt, by itself (LoRA only)
    bundle/               the model with it

Knows files; knows nothing of training.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
from torch import Tensor

from avacast.engine.bundle import Bundle
from avacast.engine.bundle_writer import check_place, writing_bundle
from avacast.engine.errors import BadSetting
from avacast.engine.manifest import to_json

_WEIGHTS = ".safetensors"


@dataclass(frozen=True)
class FinetuneFolder:
    """The folder of one run."""

    path: Path

    @property
    def description(self) -> Path:
        return self.path / "finetune.json"

    @property
    def cache(self) -> Path:
        return self.path / "cache"

    @property
    def checkpoint(self) -> Path:
        return self.path / "finetune.pt"

    @property
    def adapter(self) -> Path:
        return self.path / "adapter.safetensors"

    @property
    def bundle(self) -> Path:
        return self.path / "bundle"

    def preview(self, num_steps: int) -> Path:
        return self.path / f"preview_{num_steps:06d}.png"

    def prepare(self, source: Bundle) -> None:
        """Makes the folder. Raises BadSetting where its bundle would fall on `source` or on something else."""
        if self.bundle.resolve() == source.manifest.folder.resolve():
            raise BadSetting(f"{self.bundle} is the bundle that is read; choose another --output")
        check_place(self.bundle.absolute())
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadSetting(f"{self.path} cannot be made ({error.strerror}); choose another --output") from error

    def claim(self, run: Mapping[str, object]) -> None:
        """Writes down what the run is. Raises BadSetting where another one has come to a checkpoint here."""
        wanted = to_json(run)
        if not (self.checkpoint.exists() and self.description.exists()):
            _write(self.description, wanted)
            return
        begun, now = json.loads(self.description.read_bytes()), json.loads(wanted)
        if changed := sorted(name for name in {*begun, *now} if begun.get(name) != now.get(name)):
            raise BadSetting(
                f"{self.path} holds a run that was begun with another {', '.join(changed)}; go on as it was begun, or "
                "choose another --output"
            )

    def publish(self, source: Bundle, dit: Mapping[str, Tensor]) -> None:
        """Writes the bundle: `source` with the weights `dit` in place of its transformer's."""
        with writing_bundle(self.bundle, source.config) as writer:
            for file in source.manifest.entries:
                if file.endswith(_WEIGHTS):
                    name = file.removesuffix(_WEIGHTS)
                    writer.add(name, dit if name == "dit" else source.tensors(name))

    def publish_adapter(self, source: Bundle, tensors: Mapping[str, Tensor], alpha: float) -> None:
        """Writes the bare adapter, with its alpha and the SHA-256 of the transformer that it was made for."""
        made_for = {"alpha": alpha, "dit_sha256": source.manifest.entries[f"dit{_WEIGHTS}"].sha256}
        # One entry: the library writes several in another order every time.
        _write(self.adapter, safetensors.torch.save(dict(tensors), {"lora": json.dumps(made_for, sort_keys=True)}))


def _write(path: Path, content: bytes) -> None:
    """Beside its place first, then renamed into it."""
    beside = path.with_suffix(".tmp")
    beside.write_bytes(content)
    beside.replace(path)
