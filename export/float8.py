"""Linear layers in eight bits: matrix products that read FLOAT8E4M3FN through explicit quantisation.

In a traced graph, both sides of a product with weights pass a QuantizeLinear and a DequantizeLinear; a runtime that has
such products, as TensorRT does from compute capability 8.9 on, computes them in eight bits, any other gives the same
numbers. Each side has one scale: a matrix of weights from its own largest number, what it is multiplied with from the
largest that recorded calls show. (With a scale for every output TensorRT multiplies in sixteen bits after all, says
github.com/NVIDIA/TensorRT-Model-Connect/pull/1386.) Everything else stays in the type of the graph. Knows graphs; knows
no network by name.

Source of the format: Micikevicius et al., "FP8 formats for deep learning" (arXiv 2209.05433).
"""

from __future__ import annotations

import ast
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avacast.engine.errors import BadSetting, Unavailable
from avacast.engine.graph_session import OnnxRuntimeSession
from avacast.engine.graph_signature import GraphSignature, TensorSpec

if TYPE_CHECKING:
    import onnx_ir as ir

MAX_FLOAT8 = 448.0
"""Largest number of FLOAT8E4M3FN; beyond it numbers saturate."""

_MIN_SCALE = 1e-6
"""Of what is all zeros; float16 still holds it."""

_SCOPES = "pkg.torch.onnx.name_scopes"
"""Where PyTorch's exporter notes the modules that a node comes from."""


@dataclass(frozen=True)
class Float8:
    """Which products of one network are computed in eight bits, and from what their scales are taken."""

    part: str
    """Name of the modules, within the network, whose products are."""
    calls: Sequence[Mapping[str, Tensor]]
    """Inputs of the network, recorded."""

    def quantise(self, model: ir.Model, signature: GraphSignature) -> None:
        """Changes `model`, as PyTorch's exporter made it, in place.

        Raises BadSetting where the network's numbers are beyond the type of the graph, Unavailable where ONNX Runtime
        is missing.
        """
        products = _products(model, self.part)
        assert products, f"the graph has no weights in parts named {self.part!r}"
        names = sorted({product.inputs[0].name for product in products})
        maxima = _maxima(model, signature, names, self.calls)
        _Rewriting(model, maxima).quantise(products)


def _products(model: ir.Model, part: str) -> list[Any]:
    """The nodes of `part` that multiply with weights, in order."""
    found: list[Any] = []
    for node in model.graph:
        scopes: list[str] = ast.literal_eval(node.metadata_props.get(_SCOPES, "[]"))
        inside = any(part in scope.split(".") for scope in scopes)
        if inside and node.op_type == "MatMul" and _matrix_of(node) is not None:
            found.append(node)
    return found


def _matrix_of(node: Any) -> NDArray[Any] | None:
    """The weights [K, N] that a product reads, directly or transposed; None for a product of two computed things."""
    value = node.inputs[1]
    if value.is_initializer():
        return value.const_value.numpy()
    producer = value.producer()
    if producer is None or producer.op_type != "Transpose" or not producer.inputs[0].is_initializer():
        return None
    return producer.inputs[0].const_value.numpy().transpose(producer.attributes["perm"].as_ints())


def _maxima(
    model: ir.Model, signature: GraphSignature, names: Sequence[str], calls: Sequence[Mapping[str, Tensor]]
) -> dict[str, float]:
    """The largest magnitude that each of the named values takes in any of the `calls`, by running them."""
    import onnx_ir as ir

    wide = model.clone()
    largest = [TensorSpec(_largest(wide, name), (), signature.outputs[0].dtype) for name in names]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "calibration.onnx"
        ir.save(wide, file, external_data=f"{file.name}.data")
        given = GraphSignature(signature.inputs, (*signature.outputs, *largest))
        session = _opened(file, given, next(iter(calls[0].values())).device)
        found = np.array([[float(x) for x in session(call)[-len(names) :]] for call in calls]).max(axis=0)
    if not np.isfinite(found).all():
        raise BadSetting("the network's numbers are beyond float16, which surrounds products in fp8; export in bf16")
    return dict(zip(names, found.tolist(), strict=True))


def _largest(model: ir.Model, name: str) -> str:
    """Gives `model` one more output: the largest magnitude of its value `name`."""
    import onnx_ir as ir

    made: list[Any] = [value for node in model.graph for value in node.outputs]
    value = next(value for value in (*model.graph.inputs, *made) if value.name == name)
    size = ir.node("Abs", [value])
    largest = ir.node("ReduceMax", [size.outputs[0]], {"keepdims": 0})
    model.graph.extend([size, largest])
    output = _like(largest.outputs[0], f"{name}_largest", value.dtype, ir.Shape([]))
    model.graph.outputs.append(output)
    return output.name


def _opened(file: Path, signature: GraphSignature, device: torch.device) -> OnnxRuntimeSession:
    """Where the calls were recorded, or on the CPU where ONNX Runtime has only that."""
    try:
        return OnnxRuntimeSession(file, signature, device)
    except Unavailable:
        if device.type == "cpu":
            raise
        return OnnxRuntimeSession(file, signature, "cpu")


@dataclass(frozen=True)
class _Rewriting:
    """A graph whose products are being quantised."""

    model: ir.Model
    maxima: Mapping[str, float]

    def quantise(self, products: Sequence[Any]) -> None:
        import onnx_ir.passes.common as passes
        from ml_dtypes import float8_e4m3fn

        zero = self._constant("float8_zero", np.zeros((), float8_e4m3fn))
        rounded: dict[str, Any] = {}
        for product in products:
            given = product.inputs[0]
            if given.name not in rounded:
                rounded[given.name] = self._rounded(product, given, zero)
            matrix = self._stored(product, _matrix_of(product))
            product.replace_input_with(0, rounded[given.name])
            product.replace_input_with(1, matrix)
        passes.RemoveUnusedNodesPass()(self.model)

    def _rounded(self, before: Any, value: Any, zero: Any) -> Any:
        """`value` rounded to eight bits, by nodes that stand in front of `before`."""
        import onnx_ir as ir

        size = np.array(max(self.maxima[value.name] / MAX_FLOAT8, _MIN_SCALE), value.dtype.numpy())
        scale = self._constant(f"{value.name}_scale", size)
        quantise = ir.node("QuantizeLinear", [value, scale, zero])
        dequantise = ir.node("DequantizeLinear", [quantise.outputs[0], scale, zero])
        self.model.graph.insert_before(before, [quantise, dequantise])
        _like(quantise.outputs[0], f"{value.name}_float8", ir.DataType.FLOAT8E4M3FN, value.shape)
        return _like(dequantise.outputs[0], f"{value.name}_rounded", value.dtype, value.shape)

    def _stored(self, product: Any, matrix: NDArray[Any] | None) -> Any:
        """The weights in eight bits, and the node that reads them."""
        import onnx_ir as ir
        from ml_dtypes import float8_e4m3fn

        assert matrix is not None, "asked for when the products were found"
        dtype, name = product.inputs[1].dtype, f"{product.outputs[0].name}_weight"
        exact = matrix.astype(np.float32)
        scale = np.array(max(np.abs(exact).max() / MAX_FLOAT8, _MIN_SCALE), dtype.numpy())
        # By the scale as it is stored; its rounding may lead a little beyond the largest number, which is NaN.
        stored = np.clip(exact / scale.astype(np.float32), -MAX_FLOAT8, MAX_FLOAT8).astype(float8_e4m3fn)
        inputs = [self._constant(f"{name}_float8", stored), self._constant(f"{name}_scale", scale)]
        dequantise = ir.node("DequantizeLinear", inputs)
        self.model.graph.insert_before(product, [dequantise])
        return _like(dequantise.outputs[0], name, dtype, ir.Shape(matrix.shape))

    def _constant(self, name: str, values: NDArray[Any]) -> Any:
        import onnx_ir as ir

        tensor = ir.tensor(values, name=name)
        value = ir.Value(name=name, shape=ir.Shape(values.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
        self.model.graph.register_initializer(value)
        return value


def _like(value: Any, name: str, dtype: Any, shape: Any) -> Any:
    value.name, value.dtype, value.shape = name, dtype, shape
    return value
