"""A network as an ONNX file, its weights beside it: traced, checked, and free of all that tells where it was made.

Knows PyTorch's exporter and the ONNX checker; knows no network by name.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import warnings
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from avacast.engine.errors import BadSetting, Unavailable
from avacast.engine.graph_signature import GraphSignature

if TYPE_CHECKING:
    import onnx_ir as ir
    from torch.onnx import ONNXProgram

OPSET = 21
"""The first in which all operators carry eight-bit numbers, and still without the `Attention` of opset 23: ONNX Runtime
refuses its broadcast mask on a CPU, TensorRT for RTX 1.7 crashes on two of them in bfloat16, and both fuse the plain
form by themselves."""

MAX_FOLDED = 1 << 20
"""Numbers in a constant that is computed when exporting: above every kernel, below the large matrices."""


def write_onnx(
    form: nn.Module, signature: GraphSignature, file: Path, *, change: Callable[[ir.Model], None] | None = None
) -> list[Path]:
    """Traces `form` to `file`, and its weights to a file beside it; returns both.

    `change` is made to the graph before it is written. Raises Unavailable where the packages of the extra `export` are
    missing, BadSetting where the exporter refuses the network.
    """
    checker = require_onnx()
    device = next(form.parameters()).device
    with _quiet(), torch.no_grad():
        try:
            program = torch.onnx.export(
                form,
                tuple(signature.zeros(device).values()),
                input_names=[spec.name for spec in signature.inputs],
                output_names=[spec.name for spec in signature.outputs],
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            raise BadSetting(f"{file.stem} cannot be exported: {error}") from error
    assert program is not None, "the exporter returns a program unless it is told to write a file"
    _fold_constants(program)
    if change is not None:
        change(program.model)
    _forget_sources(program)
    program.save(file, external_data=True)
    checker.check_model(file)
    _check_signature(file, signature)
    weights = file.with_name(f"{file.name}.data")
    return [file, weights] if weights.exists() else [file]


def require_onnx() -> Any:
    """`onnx.checker`. Raises Unavailable where exporting is not possible."""
    try:
        checker = importlib.import_module("onnx.checker")
        importlib.import_module("onnxscript")  # torch's exporter needs it
    except ImportError as error:
        raise Unavailable(f"exporting needs the package {error.name}; `pip install 'avacast[export]'`") from error
    return checker


def _check_signature(file: Path, signature: GraphSignature) -> None:
    """Asserts that the graph takes and gives what it was traced for: the exporter drops inputs that are not used."""
    import onnx

    graph = onnx.load(file, load_external_data=False).graph
    for values, specs in ((graph.input, signature.inputs), (graph.output, signature.outputs)):
        found = {value.name: tuple(d.dim_value for d in value.type.tensor_type.shape.dim) for value in values}
        wanted = {spec.name: spec.shape for spec in specs}
        assert found == wanted, f"{file.name}: {found} is not {wanted}"


def _fold_constants(program: ONNXProgram) -> None:
    """Computes what depends on weights alone, as far as the result is small.

    The exporter stops at 8,192 numbers, and TensorRT for RTX 1.7 builds no transposed convolution in bfloat16 whose
    kernel is still to be computed.
    """
    from onnxscript import optimizer

    optimizer.optimize(program.model, input_size_limit=MAX_FOLDED, output_size_limit=MAX_FOLDED)


def _forget_sources(program: ONNXProgram) -> None:
    """Removes the stack traces that the exporter leaves with every node: they name folders of the machine."""
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
    program.model.metadata_props.clear()


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    """Without the exporter's warnings about operators of packages that are not installed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
