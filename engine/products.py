"""Linear layers of one input as a single matrix product, with weights laid out for it once: inference on a CPU.

A pass of the pocket transformer is some hundred small products, and each call of `nn.Linear` lays its weights out anew
for the processor: about a fifth of the time of 200 tokens. Knows layers and when they may be taken together; knows
nothing of what becomes of the results.

Weights that were laid out are taken by the operators of PyTorch's own compiler alone: the private names of this module.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from avacast.engine.prepared import Prepared

MAX_WEIGHTS = 2**19
"""Of one call. With more the product itself takes the time, and no second copy is kept of them."""

PATIENCE = 8
"""Calls with another number of tokens after which weights are laid out for that one: a stream ends with short windows,
but the next stream may have others."""

Activation = Literal["none", "gelu"]

_Product: TypeAlias = Callable[[Tensor], Tensor]


class Products:
    """What `layers` make of the same input, side by side. Not a module: the layers belong to one.

    Their weights are copied when first needed, and again when they have changed.
    """

    def __init__(self, *layers: nn.Linear, activation: Activation = "none") -> None:
        """`activation` follows the product, in bfloat16 alone; GELU is the exact one."""
        self._layers = layers
        self._activation: Activation = activation
        self._product = Prepared[_Product]()
        self._num_tokens = self._num_others = 0

    def __call__(self, x: Tensor) -> Tensor | None:
        """`[B, N, I]` to `[B, N, O]`, O the widths of all layers; None where each has to be called by itself."""
        if not self._serves(x):
            return None
        self._count(x.shape[0] * x.shape[1])
        parameters = [parameter for layer in self._layers for parameter in (layer.weight, layer.bias)]
        return self._product.of(parameters, self._prepare)(x)

    def _serves(self, x: Tensor) -> bool:
        """Whether only values are asked for, of a kind that is faster here, and nobody listens to a single layer."""
        if x.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return False
        if x.dtype == torch.bfloat16:
            faster = _takes_bfloat16()
        else:
            faster = x.dtype == torch.float32 and self._activation == "none" and torch.backends.mkl.is_available()
        return faster and all(self._is_plain(layer, x) for layer in self._layers)

    def _is_plain(self, layer: nn.Linear, x: Tensor) -> bool:
        weight = layer.weight
        if layer._forward_hooks:  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # no public question
            return False
        small = weight.numel() * len(self._layers) <= MAX_WEIGHTS
        return small and weight.dtype == x.dtype and not weight.is_inference()

    def _count(self, num_tokens: int) -> None:
        self._num_others = 0 if num_tokens == self._num_tokens else self._num_others + 1
        if self._num_tokens == 0 or self._num_others > PATIENCE:
            self._num_tokens, self._num_others = num_tokens, 0
            self._product.forget()

    def _prepare(self, parameters: Sequence[Tensor]) -> _Product:
        weight, bias = (_joined(parameters[first::2]) for first in (0, 1))
        if weight.dtype == torch.bfloat16:
            return _bfloat16_product(weight, bias, self._activation, self._num_tokens)
        return _float32_product(weight, bias, self._num_tokens)


def through(product: Products, layer: nn.Module, x: Tensor) -> Tensor:
    """What `layer` makes of `x` `[B, N, I]`, by its `product` where that can be had."""
    y = product(x)
    return layer(x) if y is None else y


def _joined(parameters: Sequence[Tensor]) -> Tensor:
    """One after the other; a single one is not copied."""
    return parameters[0].detach() if len(parameters) == 1 else torch.cat(list(parameters))


@functools.cache
def _takes_bfloat16() -> bool:
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()  # noqa: SLF001


def _bfloat16_product(weight: Tensor, bias: Tensor, activation: Activation, num_tokens: int) -> _Product:
    run = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, num_tokens)  # noqa: SLF001
    return lambda x: run(x, packed, bias, activation, [], "none")


def _float32_product(weight: Tensor, bias: Tensor, num_tokens: int) -> _Product:
    """For other numbers of tokens the operator takes `weight` as it is."""
    run = torch.ops.mkl._mkl_linear  # noqa: SLF001
    packed = torch.ops.mkl._mkl_reorder_linear_weight(weight, num_tokens)  # noqa: SLF001
    return lambda x: run(x, packed, weight, bias, num_tokens)
