"""To the host and back: the same values in the same layout, in order, and nothing at all on a CPU."""

from __future__ import annotations

import pytest
import torch

from avacast.engine.offload import Offload, pinned_bytes
from avacast.engine.side_stream import lines_of

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")),
]


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.uint8, torch.float32], ids=str)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d], ids=str)
def test_a_tensor_comes_back_as_it_left(name: str, dtype: torch.dtype, layout: torch.memory_format):
    """Values to the last bit, type, strides and device; in between it lies on the host, in memory of its own."""
    device = torch.device(name)
    x = (100 * torch.rand(2, 6, 2, 5, 4)).to(device, dtype).contiguous(memory_format=layout)
    offload = Offload(device, copies=True)
    with torch.inference_mode():
        with offload.to_host() as move:
            away = move(x)
        back = offload.to_device()(away)
    assert away.device.type == "cpu"
    assert away.is_pinned() == (name == "cuda")
    assert (back.device.type, back.dtype, back.stride()) == (name, dtype, x.stride())
    assert torch.equal(back, x)
    assert len({tensor.data_ptr() for tensor in (x, away, back)}) == 3


@pytest.mark.parametrize("name", DEVICES)
def test_what_is_made_on_a_side_line_leaves_as_it_was_then(name: str):
    """The copy follows what makes the tensor, and comes before what is written over it by the same line later."""
    device = torch.device(name)
    side, offload = lines_of(device).showing, Offload(device, copies=True)
    for number in range(10):
        with side.after_main():
            made = torch.full((1000, 1000), float(number), device=device)
            product = made @ torch.eye(1000, device=device)
            with offload.to_host() as move:
                away = move(product)
            del product
            torch.zeros(1000, 1000, device=device).fill_(-1)
        assert offload.to_device()(away).eq(number).all()


@pytest.mark.parametrize(("num_bytes", "taken"), [(0, 0), (1, 1), (4096, 4096), (4097, 8192), (75_497_472, 2**27)])
def test_pinned_memory_is_counted_in_powers_of_two(num_bytes: int, taken: int):
    assert pinned_bytes(num_bytes) == taken


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_pinned_memory_is_counted_as_pytorch_hands_it_out():
    """By its own statistics of what is in use."""
    offload = Offload(torch.device("cuda"))
    before = torch.cuda.host_memory_stats()["allocated_bytes.current"]
    with offload.to_host() as move:
        away = [move(torch.ones(size, dtype=torch.uint8, device="cuda")) for size in (3_000_000, 5_000_000)]
    torch.cuda.synchronize()
    taken = torch.cuda.host_memory_stats()["allocated_bytes.current"] - before
    assert 0 < taken <= sum(map(offload.num_bytes, away)) == 2**22 + 2**23


def test_on_a_cpu_nothing_is_copied():
    offload, x = Offload(torch.device("cpu")), torch.ones(3)
    with offload.to_host() as move:
        assert move(x) is x
    assert offload.to_device()(x) is x
