"""The manifest of exported networks: what each takes and gives, the digests of its files, and what it was made from.

An export belongs to one bundle, byte for byte, and a plan to one library on one kind of GPU. Nothing is opened before
this module has said that both are at hand. It knows files; it opens no graph and imports no runtime.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from avacast.engine.errors import BadBundle
from avacast.engine.graph_signature import GraphSignature
from avacast.engine.manifest import MANIFEST, Entry, Manifest, file_digest, parse_object, read_bytes, to_json
from avacast.engine.profile import ProfileName

FORMAT_VERSION = 1

Backend = Literal["onnx", "tensorrt"]

EXPORTS = "exports"
"""The folder within a bundle where its exports lie, unless another is named."""

MEND = "run `avacast export` again"
"""What to do about an export that does not fit."""

_FILE_NAME = re.compile(r"[a-z][a-z0-9_]*\.(onnx|onnx\.data|plan)")


@dataclass(frozen=True)
class PlanPlace:
    """Where a TensorRT plan was built, and so where alone it runs."""

    library: str
    """`tensorrt` or `tensorrt_rtx`."""
    version: str
    gpu: str
    """The GPU's name; `any` for a plan that names no GPU and is finished on the one that opens it."""
    driver: str
    """Version of the GPU's driver; empty without a GPU."""

    def misfit(self, here: PlanPlace) -> str:
        """What separates the plan from this machine, in words; empty where nothing does."""
        if (self.library, self.version) != (here.library, here.version):
            return f"was built by {self.library} {self.version}, here is {here.library} {here.version}"
        if self.gpu != "any" and self.gpu != here.gpu:
            return f"was built on {self.gpu}, here is {here.gpu or 'no GPU'}"
        if self.driver and self.driver != here.driver:
            return f"was built under driver {self.driver}, here is {here.driver or 'none'}"
        return ""


@dataclass(frozen=True)
class ExportedNetwork:
    """One exported network."""

    signature: GraphSignature
    graph: str
    """The ONNX file."""
    files: Mapping[str, Entry]
    """All its files with their digests: graph, weights beside it, plan."""
    plan: str | None = None
    """The file of the TensorRT plan."""
    place: PlanPlace | None = None
    """Where the plan was built."""

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ExportedNetwork:
        """Raises KeyError, TypeError or ValueError for anything that `to_json` does not write."""
        files = {name: Entry(str(entry["sha256"]), int(entry["bytes"])) for name, entry in values["files"].items()}
        place = values["place"]
        network = cls(
            signature=GraphSignature.from_json(values["signature"]),
            graph=values["graph"],
            files=files,
            plan=values["plan"],
            place=None if place is None else PlanPlace(**place),
        )
        # The pattern leaves no way out of the folder.
        if not all(_FILE_NAME.fullmatch(name) for name in files):
            raise ValueError(f"{', '.join(files)} are no files of an export")
        if network.graph not in files or (network.plan is not None and network.plan not in files):
            raise ValueError("a file without a digest")
        return network

    def to_json(self) -> dict[str, Any]:
        return {
            "signature": self.signature.to_json(),
            "graph": self.graph,
            "files": {name: {"sha256": entry.sha256, "bytes": entry.num_bytes} for name, entry in self.files.items()},
            "plan": self.plan,
            "place": None if self.place is None else vars(self.place),
        }


@dataclass(frozen=True)
class ExportManifest:
    """One export of a bundle: the networks at one profile, batch and precision."""

    folder: Path
    bundle: str
    """SHA-256 of the bundle's manifest, which vouches for its configuration and every weight."""
    profile: ProfileName
    batch: int
    backend: Backend
    precision: str
    versions: Mapping[str, str]
    """Of the packages that made it."""
    networks: Mapping[str, ExportedNetwork]

    @classmethod
    def read(cls, folder: Path) -> ExportManifest:
        """Reads `manifest.json`. Raises BadBundle when it is missing, damaged or of another format."""
        file = folder / MANIFEST
        content = read_bytes(file)
        values = parse_object(file, content)
        version = values.pop("format_version", None)
        if version != FORMAT_VERSION:
            raise BadBundle(f"{file} has format version {version!r}, this avacast reads {FORMAT_VERSION}; {MEND}")
        try:
            networks = {name: ExportedNetwork.from_json(network) for name, network in values.pop("networks").items()}
            manifest = cls(folder=folder, networks=networks, **values)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadBundle(f"{file} is no manifest of an export ({error}); {MEND}") from error
        if content != manifest.to_json():
            raise BadBundle(f"{file} was changed after it was written; {MEND}")
        return manifest

    def to_json(self) -> bytes:
        values = {name: value for name, value in vars(self).items() if name not in ("folder", "networks")}
        networks = {name: network.to_json() for name, network in self.networks.items()}
        return to_json({"format_version": FORMAT_VERSION, **values, "networks": networks})

    def check_bundle(self, bundle: Manifest) -> None:
        """Raises BadBundle when the export was made from another bundle, or from this one before it changed."""
        if self.bundle != bundle_digest(bundle):
            raise BadBundle(f"the export {self.folder} was made from another model than {bundle.folder}; {MEND}")

    def check_signatures(self, wanted: Mapping[str, GraphSignature]) -> None:
        """Raises BadBundle when its networks do not take and give what is `wanted`: another avacast made them."""
        found = self.networks
        if found.keys() != wanted.keys() or not all(found[name].signature.matches(wanted[name]) for name in wanted):
            raise BadBundle(f"the export {self.folder} was made by another avacast, whose networks differ; {MEND}")

    def verified(self, name: str, file: str) -> Path:
        """The path of a network's file once its digest was checked. Raises BadBundle."""
        entry, path = self.networks[name].files[file], self.folder / file
        if file_digest(path) != entry.sha256:
            raise BadBundle(f"{path} is damaged: its SHA-256 is not the manifest's; {MEND}")
        return path

    def with_network(self, name: str, network: ExportedNetwork) -> ExportManifest:
        """This manifest with one more, or another, network."""
        return replace(self, networks={**self.networks, name: network})


def bundle_digest(bundle: Manifest) -> str:
    """What an export remembers of the bundle that it was made from."""
    return Entry.of(bundle.to_json()).sha256


def export_folders(folder: Path) -> list[Path]:
    """The folders in `folder` that hold an export, by name; none where there is no such folder."""
    return sorted(file.parent for file in folder.glob(f"*/{MANIFEST}"))
