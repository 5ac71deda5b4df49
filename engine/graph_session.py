"""An exported network, opened: ONNX Runtime or TensorRT behind one call over named tensors.

Knows how each runtime is handed PyTorch's memory. Neither is imported before it is asked for, and no file is opened
whose digest was not checked. What the networks mean is not known here.
"""

from __future__ import annotations

import contextlib
import importlib
import re
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from avacast.engine.errors import BadBundle, Unavailable
from avacast.engine.export_manifest import MEND, ExportManifest, PlanPlace
from avacast.engine.graph_signature import GraphSignature
from avacast.engine.side_stream import SideStream

ONNX_TYPES = {torch.float32: 1, torch.bool: 9, torch.float16: 10, torch.bfloat16: 16}
"""`onnx.TensorProto`'s numbers."""

_DRIVER = Path("/proc/driver/nvidia/version")


class GraphSession(Protocol):
    """What both runtimes offer."""

    signature: GraphSignature
    runtime: str
    """Its name and version, for people."""

    def __call__(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """The outputs in the signature's order, in fresh memory; inputs are converted to the types it names."""
        ...


def open_graph(manifest: ExportManifest, name: str, device: torch.device | str) -> GraphSession:
    """The network `name` of an export, ready to run on `device`.

    Raises BadBundle where its files are damaged or its plan was built elsewhere, Unavailable where the runtime is not
    installed or cannot run it.
    """
    network = manifest.networks.get(name)
    if network is None:
        raise BadBundle(f"the export {manifest.folder} has no network {name!r}; {MEND}")
    for file in network.files:
        manifest.verified(name, file)
    if manifest.backend == "onnx":
        return OnnxRuntimeSession(manifest.folder / network.graph, network.signature, device)
    if network.plan is None or network.place is None:
        raise BadBundle(f"the export {manifest.folder} has no plan of {name}; {MEND}")
    return TensorRTSession(manifest.folder / network.plan, network.signature, network.place, torch.device(device))


class OnnxRuntimeSession:
    """A network in ONNX Runtime, on the CPU or on CUDA, reading and writing PyTorch's memory."""

    def __init__(self, file: Path, signature: GraphSignature, device: torch.device | str) -> None:
        """Raises Unavailable where ONNX Runtime is missing or cannot run the network there."""
        runtime = _require("onnxruntime")
        self.signature = signature
        self.runtime = f"ONNX Runtime {runtime.__version__}"
        self._device = torch.device(device)
        provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}[self._device.type]
        if provider not in runtime.get_available_providers():
            raise Unavailable(f"{self.runtime} has no {provider} here; install onnxruntime-gpu to use it")
        options = runtime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = torch.get_num_threads()
        # Threads that wait by spinning take the cores from PyTorch's and from the video encoder.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        place = {"device_id": self._device.index or 0} if self._device.type == "cuda" else {}
        with _refusals(f"{self.runtime} cannot run {file.name}"):
            self._session: Any = runtime.InferenceSession(str(file), options, providers=[(provider, place)])

    def __call__(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        binding = self._session.io_binding()
        # Bound tensors must live until the run has ended.
        given = [_given(inputs, spec.name, spec.dtype, self._device) for spec in self.signature.inputs]
        made = [torch.empty(spec.shape, dtype=spec.dtype, device=self._device) for spec in self.signature.outputs]
        for spec, tensor in zip(self.signature.inputs, given, strict=True):
            binding.bind_input(spec.name, *self._place(tensor))
        for spec, tensor in zip(self.signature.outputs, made, strict=True):
            binding.bind_output(spec.name, *self._place(tensor))
        if self._device.type == "cuda":
            torch.cuda.current_stream(self._device).synchronize()
        self._session.run_with_iobinding(binding)
        return tuple(made)

    def _place(self, tensor: Tensor) -> tuple[str, int, int, list[int], int]:
        index = self._device.index or 0
        return self._device.type, index, ONNX_TYPES[tensor.dtype], list(tensor.shape), tensor.data_ptr()


class TensorRTSession:
    """A TensorRT plan, in its turn among what the current CUDA stream is given; it may be captured in a graph.

    It runs on a stream of its own, between two events: on the default one, which is PyTorch's, TensorRT makes the host
    wait at every call.
    """

    def __init__(self, file: Path, signature: GraphSignature, place: PlanPlace, device: torch.device) -> None:
        """Raises BadBundle for a plan built elsewhere, before a byte of it is read, and Unavailable without a GPU."""
        if misfit := place.misfit(place_here(place.library)):
            raise BadBundle(f"the plan {file} {misfit}; {MEND}")
        if not torch.cuda.is_available():
            raise Unavailable(f"the plan {file} needs a GPU, and there is none; the network runs in PyTorch instead")
        library = importlib.import_module(place.library)
        self.signature = signature
        self.runtime = f"{place.library} {place.version}"
        self._runtime: Any = library.Runtime(library.Logger(library.Logger.ERROR))
        self._plan: Any = self._runtime.deserialize_cuda_engine(file.read_bytes())
        if self._plan is None:
            raise Unavailable(f"{self.runtime} cannot open the plan {file}; {MEND}")
        self._context: Any = self._plan.create_execution_context()
        self._device, self._line = device, SideStream(device)

    def __call__(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        given = [_given(inputs, spec.name, spec.dtype, self._device) for spec in self.signature.inputs]
        made = [torch.empty(spec.shape, dtype=spec.dtype, device=self._device) for spec in self.signature.outputs]
        specs = (*self.signature.inputs, *self.signature.outputs)
        for spec, tensor in zip(specs, (*given, *made), strict=True):
            self._context.set_tensor_address(spec.name, tensor.data_ptr())
        # The tensors' own stream goes on after this one, so their memory is not used again before it has.
        with self._line.after_main():
            ran = self._context.execute_async_v3(torch.cuda.current_stream(self._device).cuda_stream)
        self._line.join()
        assert ran, f"{self.runtime} refused inputs that fit its signature"
        return tuple(made)


def place_here(library: str) -> PlanPlace:
    """This machine, as a plan of `library` would remember it. Raises Unavailable where the library is missing."""
    module = _require(library)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return PlanPlace(library, module.__version__, gpu, driver_version() if gpu else "")


def driver_version() -> str:
    """Of the NVIDIA driver; empty where there is none."""
    found = re.search(r"\b\d+\.\d+(\.\d+)?\b", _DRIVER.read_text()) if _DRIVER.exists() else None
    return found.group() if found else ""


def _given(inputs: Mapping[str, Tensor], name: str, dtype: torch.dtype, device: torch.device) -> Tensor:
    return inputs[name].to(device, dtype).contiguous()


def _require(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except (ImportError, OSError) as error:
        raise Unavailable(f"{package} is not installed here ({error}); the network runs in PyTorch instead") from error


@contextlib.contextmanager
def _refusals(what: str) -> Generator[None]:
    """Turns what ONNX Runtime raises, whose errors have no common base of their own, into Unavailable."""
    raised = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")

    kinds = tuple(kind for kind in vars(raised).values() if isinstance(kind, type) and issubclass(kind, Exception))
    try:
        yield
    except kinds as error:
        raise Unavailable(f"{what} ({' '.join(str(error).split())[:300]})") from error
