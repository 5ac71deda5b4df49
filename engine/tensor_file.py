"""A safetensors file written tensor by tensor, so that a model larger than memory can be written.

It knows the format (github.com/huggingface/safetensors) and lays tensors out as the reference library does, so the
bytes are the same; it knows nothing of what the tensors are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from avacast.engine.errors import BadBundle

DTYPE_NAMES = {
    torch.float64: "F64",
    torch.int64: "I64",
    torch.float32: "F32",
    torch.int32: "I32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int16: "I16",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.bool: "BOOL",
}
"""The format's names, in the order in which its library lays them out."""

OnTensor: TypeAlias = Callable[[str, Tensor], None]
"""Called with the name and the tensor after each was written."""

_ALIGNMENT = 8
_PIECE_BYTES = 16 << 20


def num_tensor_bytes(tensors: Mapping[str, Tensor]) -> int:
    """Bytes of all the tensors' values."""
    return sum(tensor.numel() * tensor.itemsize for tensor in tensors.values())


def tensor_file_pieces(
    tensors: Mapping[str, Tensor], on_tensor: OnTensor | None = None
) -> Iterator[bytes | memoryview]:
    """The file's content in order, in pieces of at most 16 MB and the header; one tensor at a time is in memory.

    `on_tensor` is called after each. Raises BadBundle for a tensor of a type that the format lacks.
    """
    order = list(DTYPE_NAMES)
    if foreign := [name for name, tensor in tensors.items() if tensor.dtype not in DTYPE_NAMES]:
        raise BadBundle(f"{foreign[0]} holds {tensors[foreign[0]].dtype}, which no bundle can; convert it first")
    names = sorted(tensors, key=lambda name: (order.index(tensors[name].dtype), name))
    yield _header(names, tensors)
    for name in names:
        content = _bytes_of(tensors[name])
        for start in range(0, len(content), _PIECE_BYTES):
            yield content[start : start + _PIECE_BYTES]
        if on_tensor is not None:
            on_tensor(name, tensors[name])


def _header(names: list[str], tensors: Mapping[str, Tensor]) -> bytes:
    entries: dict[str, object] = {}
    position = 0
    for name in names:
        tensor = tensors[name]
        stop = position + tensor.numel() * tensor.itemsize
        entries[name] = {
            "dtype": DTYPE_NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [position, stop],
        }
        position = stop
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def _bytes_of(tensor: Tensor) -> memoryview:
    values = tensor.detach().cpu().contiguous().reshape(-1)
    return values.view(torch.uint8).numpy().data if values.numel() else memoryview(b"")
