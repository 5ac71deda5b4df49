"""Products with weights laid out once give what the layers give, or leave it to them."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from avacast.engine.products import MAX_WEIGHTS, PATIENCE, Products, through

DTYPES = (torch.float32, torch.bfloat16)

pytestmark = pytest.mark.skipif(
    not (torch.backends.mkl.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()),
    reason="needs MKL and a processor with AVX-512 or bfloat16",
)


def _layers(dtype: torch.dtype, *widths: int) -> list[nn.Linear]:
    torch.manual_seed(0)
    return [nn.Linear(32, width).to(dtype).requires_grad_(False) for width in widths]


def _add_one(_layer: nn.Module, _inputs: object, output: Tensor) -> Tensor:
    return output + 1


def _expected(layers: list[nn.Linear], x: Tensor) -> Tensor:
    return torch.cat([layer(x) for layer in layers], dim=-1)


def _assert_close(actual: Tensor | None, expected: Tensor) -> None:
    assert actual is not None
    tolerance = 1e-5 if expected.dtype == torch.float32 else 2e-2
    assert (actual - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("widths", [(48,), (48, 16, 32)])
def test_layers_of_one_input_are_one_product(dtype: torch.dtype, widths: tuple[int, ...]):
    """What several layers make of an input stands side by side, within rounding, in as many tokens as may be."""
    layers = _layers(dtype, *widths)
    product = Products(*layers)
    with torch.inference_mode():
        for num_tokens in (20, 7, 20, 33):
            x = torch.randn(2, num_tokens, 32).to(dtype)
            _assert_close(product(x), _expected(layers, x))


def test_another_number_of_tokens_stays_right_beyond_the_patience():
    """Weights are laid out for another number of tokens once it has come often enough; the result is the same."""
    (layer,) = _layers(torch.float32, 48)
    product = Products(layer)
    with torch.inference_mode():
        product(torch.randn(1, 20, 32))
        for _ in range(PATIENCE + 2):
            x = torch.randn(1, 9, 32)
            _assert_close(product(x), layer(x))


def test_gelu_follows_in_bfloat16():
    """In bfloat16 the exact GELU can follow; in float32, where the network has another, the layer is called."""
    (layer,) = _layers(torch.bfloat16, 48)
    x = torch.randn(1, 20, 32).bfloat16()
    with torch.inference_mode():
        _assert_close(Products(layer, activation="gelu")(x), nn.functional.gelu(layer(x)))
        assert Products(layer.float(), activation="gelu")(x.float()) is None


@pytest.mark.parametrize("dtype", DTYPES)
def test_changed_weights_are_seen(dtype: torch.dtype):
    """Weights that were written to, replaced or copied with their module serve the next call."""
    (layer,) = _layers(dtype, 48)
    product, x = Products(layer), torch.randn(1, 20, 32).to(dtype)
    with torch.inference_mode():
        product(x)
    with torch.no_grad():
        layer.weight.mul_(-3)
    with torch.inference_mode():
        _assert_close(product(x), layer(x))
        layer.load_state_dict({"weight": torch.ones(48, 32, dtype=dtype), "bias": torch.ones(48, dtype=dtype)})
        _assert_close(product(x), layer(x))
    twin, twin_product = deepcopy((layer, product))
    with torch.no_grad():
        twin.weight.zero_()
    with torch.inference_mode():
        _assert_close(twin_product(x), twin(x))
        _assert_close(product(x), layer(x))


def test_each_layer_is_called_where_more_than_values_is_asked_for():
    """Gradients, a listener at a layer, another number type and large layers leave the call to the layers."""
    (layer,) = _layers(torch.float32, 48)
    product, x = Products(layer), torch.randn(1, 20, 32)
    assert product(x) is None, "gradients"
    with torch.inference_mode():
        assert product(x.bfloat16()) is None, "the weights are float32"
        listener = layer.register_forward_hook(_add_one)
        assert product(x) is None, "a listener"
        assert torch.equal(through(product, layer, x), layer(x))
        listener.remove()
        assert product(x) is not None
        large = nn.Linear(32, MAX_WEIGHTS // 32 + 1)
        assert Products(large)(x) is None, "a large layer"
